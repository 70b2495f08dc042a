#!/usr/bin/env python3
"""Makes the images of crates/shufflenet-data/tests/fixtures/images and what Pillow sees in them.

  image_fixtures.py FOLDER      needs Pillow and numpy; pyarrow for the parquet file

Beside each image NAME lies NAME.rgb: width and height, four little-endian bytes each, then the RGB that a
person sees: turned by EXIF, transparency on white, the upper eight of sixteen bits. For the photograph-like
ones there is NAME.eval, too: 24 x 24 RGB, the shorter side resized to 28 by Pillow's antialiased bilinear
filter, the middle cropped as torchvision does. In the folder `parquet` beside FOLDER: three 2x2 images with
labels, as Hugging Face has them.
"""
import io
import json
import pathlib
import struct
import sys

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 61, 43


def scene(seed=0, width=WIDTH, height=HEIGHT):
    """Gradients, edges and a little noise: smooth and hard parts, as in photographs."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    red = 255 * x / width
    green = 127 + 120 * np.sin(x / 7 + y / 5)
    blue = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2, 230, 40)
    image = np.stack([red, green, blue], 2) + random.normal(0, 4, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def seen(image):
    """The RGB that a person sees."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
        page = Image.new("RGB", image.size, "white")
        page.paste(image.convert("RGB"), mask=alpha)
        return page
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def evaluation(image, resize=28, size=24):
    width, height = image.size
    short = min(width, height)
    image = image.resize((width * resize // short, height * resize // short), Image.Resampling.BILINEAR)
    left, top = (int(round((side - size) / 2.0)) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def png16(array):
    """A PNG of 16 bits a channel, which Pillow does not write for RGB."""
    import zlib

    height, width, channels = array.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def images():
    rgb = Image.fromarray(scene())
    grey = rgb.convert("L")
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1)))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey_alpha = Image.merge("LA", (grey, alpha))
    palette = rgb.quantize(32)
    see_through = rgb.quantize(16)
    deep = scene().astype(np.uint16) * 256 + scene(1)

    yield "rgb.png", encoded(rgb, "PNG")
    yield "grey.png", encoded(grey, "PNG")
    yield "bits.png", encoded(rgb.convert("1"), "PNG")
    yield "rgba.png", encoded(rgba, "PNG")
    yield "grey_alpha.png", encoded(grey_alpha, "PNG")
    yield "palette.png", encoded(palette, "PNG")
    yield "palette_transparent.png", encoded(see_through, "PNG", transparency=3)
    yield "grey16.png", png16(deep[:, :, :1])
    yield "rgb16.png", png16(deep)
    yield "rgb.bmp", encoded(rgb, "BMP")
    yield "grey.bmp", encoded(grey, "BMP")
    yield "palette.bmp", encoded(palette, "BMP")
    yield "lossless.webp", encoded(rgb, "WEBP", lossless=True, exact=True)
    yield "lossless_alpha.webp", encoded(rgba, "WEBP", lossless=True, exact=True)
    yield "lossy.webp", encoded(rgb, "WEBP", quality=85)
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"{name}.jpg", encoded(rgb, "JPEG", quality=90, subsampling=subsampling)
    yield "progressive.jpg", encoded(rgb, "JPEG", quality=85, progressive=True)
    yield "rough.jpg", encoded(rgb, "JPEG", quality=30)
    yield "grey.jpg", encoded(grey, "JPEG", quality=90)
    yield "cmyk.jpg", encoded(rgb.convert("CMYK"), "JPEG", quality=95)
    yield "restarts.jpg", encoded(rgb, "JPEG", quality=85, restart_marker_blocks=3)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        yield f"exif{orientation}.jpg", encoded(rgb, "JPEG", quality=95, subsampling=0, exif=exif)
    exif = Image.Exif()
    exif[0x112] = 6
    yield "exif6.png", encoded(rgb, "PNG", exif=exif)
    yield "exif6.webp", encoded(rgb, "WEBP", lossless=True, exif=exif)
    yield "wide.png", encoded(Image.fromarray(scene(2, 200, 30)), "PNG")
    yield "small.png", encoded(Image.fromarray(scene(3, 9, 11)), "PNG")
    yield "one.png", encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")


def write_parquet(folder):
    import pyarrow as pa
    import pyarrow.parquet

    pngs = [encoded(Image.new("RGB", (2, 2), (value, 0, 0)), "PNG") for value in (10, 20, 30)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "img": pa.array([{"bytes": png, "path": None} for png in pngs], kind),
        "label": pa.array([0, 1, 1], "int64"),
    }
    described = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(described)})
    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, folder / "train-00000-of-00001.parquet", compression="snappy")


def main(arguments):
    if len(arguments) != 1:
        sys.exit(__doc__)
    folder = pathlib.Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in images():
        image = seen(Image.open(io.BytesIO(data)))
        (folder / name).write_bytes(data)
        (folder / f"{name}.rgb").write_bytes(struct.pack("<II", *image.size) + image.tobytes())
        (folder / f"{name}.eval").write_bytes(evaluation(image).tobytes())
    write_parquet(folder.parent / "parquet")


if __name__ == "__main__":
    main(sys.argv[1:])
