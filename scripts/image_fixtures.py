#!/usr/bin/env python3
"""Makes the images of crates/shufflenet-data/tests/fixtures/images and Pillow's pixels for them.

  image_fixtures.py FOLDER      needs Pillow and numpy; pyarrow for the parquet file

The file NAME.rgb beside each image NAME has width and height, four little-endian bytes each, and then the RGB that a
viewer shows: rotated by EXIF, transparency on white, the upper eight of sixteen bits. Images of the function `images`
also have NAME.eval: 24 x 24 RGB, for which Pillow's antialiased bilinear filter resizes the shorter side to 28 and the
middle is cropped as torchvision does. The folder `parquet` beside FOLDER gets three 2x2 images with labels, in Hugging
Face's format.
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
    """Gradients, edges and a little noise: smooth parts and sharp parts, as in photographs."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    red = 255 * x / width
    green = 127 + 120 * np.sin(x / 7 + y / 5)
    blue = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2, 230, 40)
    image = np.stack([red, green, blue], 2) + random.normal(0, 4, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def seen(image):
    """The RGB that a viewer shows."""
    is_tiff = image.format == "TIFF"
    image = ImageOps.exif_transpose(image)
    if image.mode in ("P", "L") and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
        page = Image.new("RGB", image.size, "white")
        page.paste(image.convert("RGB"), mask=alpha)
        return page
    # 32-bit numbers of a TIFF are clipped at 255, as by Pillow, because the file does not record their range.
    if image.mode.startswith("I") and not (is_tiff and image.mode == "I"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def evaluation(image, resize=28, size=24):
    width, height = image.size
    short = min(width, height)
    image = image.resize((width * resize // short, height * resize // short), Image.Resampling.BILINEAR)
    left, top = (int(round((side - size) / 2.0)) for side in image.size)
    return image.crop((left, top, left + size, top + size))


def png16(array):
    """An RGB PNG of 16 bits per channel, which Pillow cannot write."""
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


def tiff(array, interpretation, order="<", tile=None, planar=False, tags=()):
    """A TIFF of one strip or of tiles, which Pillow cannot write. `array` is height x width x samples."""
    height, width, samples = array.shape
    kinds = {"u": 1, "i": 2, "f": 3}
    data = array.astype(array.dtype.newbyteorder(order))
    if tile:
        padded = np.zeros((-height % tile + height, -width % tile + width, samples), data.dtype)
        padded[:height, :width] = data
        chunks = [
            padded[y : y + tile, x : x + tile].tobytes()
            for y in range(0, height, tile)
            for x in range(0, width, tile)
        ]
    elif planar:
        chunks = [data[:, :, sample].tobytes() for sample in range(samples)]
    else:
        chunks = [data.tobytes()]
    start = 8
    offsets = [start + sum(map(len, chunks[:index])) for index in range(len(chunks))]
    lengths = [len(chunk) for chunk in chunks]
    shorts = {
        256: [width],
        257: [height],
        258: [8 * array.dtype.itemsize] * samples,
        259: [1],
        262: [interpretation],
        277: [samples],
        284: [2 if planar else 1],
        339: [kinds[array.dtype.kind]] * samples,
    }
    shorts |= {322: [tile], 323: [tile]} if tile else {278: [height]}
    shorts |= dict(tags)
    longs = {324: offsets, 325: lengths} if tile else {273: offsets, 279: lengths}
    body = b"".join(chunks) + b"\0" * (sum(lengths) % 2)
    page = start + len(body)
    entries, far = b"", b""
    free = page + 2 + 12 * (len(shorts) + len(longs)) + 4
    for tag, words in sorted((shorts | longs).items()):
        code = "H" if tag in shorts else "I"
        value = struct.pack(f"{order}{len(words)}{code}", *words)
        if len(value) > 4:
            place = struct.pack(order + "I", free + len(far))
            far += value
        else:
            place = value.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, 3 if code == "H" else 4, len(words)) + place
    mark = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(order + "H", len(shorts) + len(longs))
    return mark + struct.pack(order + "I", page) + body + count + entries + b"\0" * 4 + far


def changed(data, at, new):
    return data[:at] + new + data[at + len(new) :]


def tiffs(rgb, grey, rgba, grey_alpha, palette):
    deep = np.asarray(rgb).astype(np.uint16) * 256 + np.asarray(rgb)[::-1]
    bits = rgb.convert("1")
    levels = np.asarray(grey)[:, :, None]

    yield "rgb.tif", encoded(rgb, "TIFF")
    yield "lzw.tif", encoded(rgb, "TIFF", compression="tiff_lzw")
    yield "predicted.tif", encoded(rgb, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "deflate.tif", encoded(rgb, "TIFF", compression="tiff_adobe_deflate")
    yield "packbits.tif", encoded(grey, "TIFF", compression="packbits")
    yield "jpeg.tif", encoded(rgb, "TIFF", compression="jpeg", quality=95)
    yield "grey_jpeg.tif", encoded(grey, "TIFF", compression="jpeg", quality=95)
    yield "group4.tif", encoded(bits, "TIFF", compression="group4")
    yield "bits.tif", encoded(bits, "TIFF")
    yield "grey.tif", encoded(grey, "TIFF")
    yield "white_is_zero.tif", tiff(255 - levels, 0)
    yield "grey16.tif", tiff(deep[:, :, :1], 1)
    yield "grey16_big_endian.tif", tiff(deep[:, :, :1], 1, ">")
    yield "rgb16.tif", tiff(deep, 2)
    yield "rgb16_big_endian.tif", tiff(deep, 2, ">")
    yield "palette.tif", encoded(palette, "TIFF")
    yield "palette_lzw.tif", encoded(palette, "TIFF", compression="tiff_lzw")
    yield "palette_big.tif", encoded(palette, "TIFF", big_tiff=True)
    ramp = [level * 4369 for level in range(16)]
    even = np.pad(levels[:, :, 0] >> 4, ((0, 0), (0, levels.shape[1] % 2)))
    two = (even[:, ::2] * 16 + even[:, 1::2])[:, :, None]
    yield "palette4.tif", tiff(two, 3, tags={256: [levels.shape[1]], 258: [4], 320: ramp + ramp[::-1] + ramp})
    yield "grey4.tif", tiff(two, 1, tags={256: [levels.shape[1]], 258: [4]})
    yield "rgba.tif", encoded(rgba, "TIFF")
    yield "premultiplied.tif", tiff(np.asarray(rgba), 2, tags={338: [1]})
    yield "no_alpha.tif", tiff(np.asarray(rgba), 2, tags={338: [0]})
    yield "grey_alpha.tif", encoded(grey_alpha, "TIFF")
    yield "cmyk.tif", encoded(rgb.convert("CMYK"), "TIFF")
    yield "planar.tif", tiff(np.asarray(rgb), 2, planar=True)
    yield "tiled.tif", tiff(np.asarray(rgb), 2, tile=16)
    floats = np.asarray(grey).astype(np.float32)[:, :, None] * 1.5 - 30.25
    yield "float.tif", tiff(floats, 1)
    yield "float_big_endian.tif", tiff(floats, 1, ">")
    yield "int.tif", tiff(np.asarray(grey).astype(np.int32)[:, :, None] * 2 - 100, 1)
    yield "big.tif", encoded(rgb, "TIFF", big_tiff=True)
    second = Image.new("L", (3, 2), 7)
    yield "two_pages.tif", encoded(rgb, "TIFF", save_all=True, append_images=[second])
    for orientation in (2, 6, 8):
        yield f"exif{orientation}.tif", encoded(rgb, "TIFF", tiffinfo={274: orientation})


def gifs(rgb, grey, palette):
    single = encoded(palette, "GIF", interlace=False)
    see_through = encoded(palette, "GIF", interlace=False, transparency=palette.getpixel((5, 5)))
    # The position of the frame is 17 bytes before the data: left, top, width, height.
    frame = single.index(b",\0\0\0\0" + struct.pack("<HH", *palette.size)) + 1
    frame_through = see_through.index(b",\0\0\0\0" + struct.pack("<HH", *palette.size)) + 1

    yield "palette.gif", single
    yield "interlaced.gif", encoded(palette, "GIF", interlace=True)
    yield "transparent.gif", see_through
    yield "grey.gif", encoded(grey, "GIF")
    moved = struct.pack("<HH", 3, 2)
    canvas = struct.pack("<HH", palette.width + 7, palette.height + 5)
    yield "on_canvas.gif", changed(changed(single, 6, canvas), frame, moved)
    yield "on_transparent_canvas.gif", changed(changed(see_through, 6, canvas), frame_through, moved)
    yield "beyond_canvas.gif", changed(single, frame, moved)
    # The palette has one colour, and the pixels' other indices are outside it.
    flags = single[10]
    size = 3 * 2 ** ((flags & 7) + 1)
    short = single[:10] + bytes([flags & 0xF8]) + single[11:13] + single[13:19] + single[13 + size :]
    yield "short_palette.gif", short
    second = Image.new("P", (2, 2))
    yield "two_frames.gif", encoded(palette, "GIF", save_all=True, append_images=[second])


def ppms(rgb, grey):
    pixels, levels = np.asarray(rgb), np.asarray(grey)
    size = f"{rgb.width} {rgb.height}".encode()

    def plain(values):
        return b"\n".join(b" ".join(b"%d" % value for value in row) for row in values.reshape(len(values), -1)) + b"\n"

    yield "rgb.ppm", encoded(rgb, "PPM")
    yield "grey.pgm", encoded(grey, "PPM")
    yield "bits.pbm", encoded(rgb.convert("1"), "PPM")
    bits = (levels > 99).astype(np.uint8)
    yield "plain.pbm", b"P1\n# bits\n" + size + b"\n" + plain(bits).replace(b" ", b"")
    yield "plain.pgm", b"P2 " + size + b" 255\n" + plain(levels)
    yield "plain.ppm", b"P3\n#a\n" + size + b"#b\n\t 255\r\n# c\n" + plain(pixels)
    yield "to100.pgm", b"P5\n" + size + b"\n100\n" + (levels // 2).tobytes()
    yield "to100.ppm", b"P6\n" + size + b"\n100\n" + (pixels // 2).tobytes()
    yield "to7_plain.ppm", b"P3\n" + size + b"\n7\n" + plain(pixels // 32)
    deep = pixels.astype(">u2") * 3
    yield "to1000.pgm", b"P5\n" + size + b"\n1000\n" + deep[:, :, 1].tobytes()
    yield "to1000.ppm", b"P6\n" + size + b"\n1000\n" + deep.tobytes()
    yield "to1000_plain.pgm", b"P2\n" + size + b"\n1000\n" + plain(deep[:, :, 1])
    yield "to65535.pgm", b"P5\n" + size + b"\n65535\n" + (deep[:, :, 1] * 80).tobytes()
    yield "to65535.ppm", b"P6\n" + size + b"\n65535\n" + (deep * 80).tobytes()


def others():
    """TIFF, GIF and PPM. The pictures are small, because there are many."""
    rgb = Image.fromarray(scene(4, 21, 17))
    grey = rgb.convert("L")
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, rgb.width).astype(np.uint8), (rgb.height, 1)))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    palette = rgb.quantize(32)
    yield from tiffs(rgb, grey, rgba, Image.merge("LA", (grey, alpha)), palette)
    yield from gifs(rgb, grey, palette)
    yield from ppms(rgb, grey)


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
    for name, data in (*images(), *others()):
        image = seen(Image.open(io.BytesIO(data)))
        (folder / name).write_bytes(data)
        (folder / f"{name}.rgb").write_bytes(struct.pack("<II", *image.size) + image.tobytes())
        if name in dict(images()):
            (folder / f"{name}.eval").write_bytes(evaluation(image).tobytes())
    write_parquet(folder.parent / "parquet")


if __name__ == "__main__":
    main(sys.argv[1:])
