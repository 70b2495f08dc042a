#!/usr/bin/env python3
"""Checks the page of `shufflenet export --format web` in headless Chromium, against `shufflenet predict`.

    scripts/build_web && cargo build --release --features web
    pip install playwright, and Chromium of the system
    python3 scripts/check_web.py --binary target/release/shufflenet [--screenshots DIR]

The page and `predict` classify every image of the decoder's tests. With the same float16 weights the logits agree to 1e-4. With a
checkpoint in float32 the top class is the same and probabilities agree to 0.01. Then the script uses the page: by keyboard, by a drop,
by a paste, by the camera, offline, with a file that is not an image, after another network was exported to the same address, and with
the weights of another network. The page must request nothing from other servers.
"""

import argparse
import base64
import functools
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "crates/shufflenet-data/tests/fixtures/images"
MODEL = ROOT / "models/cifar10-x0_5"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# A camera whose picture Chromium draws.
FLAGS = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
CLASSIFY = "async (data) => classify(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer)"


def run(*arguments):
    return subprocess.run(list(map(str, arguments)), check=True, capture_output=True, text=True, cwd=ROOT).stdout


def images():
    """The encoded images of the decoder's tests."""
    return sorted(path for path in IMAGES.iterdir() if path.suffix not in (".rgb", ".eval"))


def export(binary, checkpoint, place):
    print(run(binary, "export", "--checkpoint", checkpoint, "--format", "web", "--out", place), end="")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def serve(folder):
    """Starts a static server of `folder`. Returns the server and its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("localhost", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://localhost:{server.server_port}/"


def open_page(browser, address, strangers, **options):
    context = browser.new_context(permissions=["camera"], **options)
    page = context.new_page()
    context.on("request", lambda request: request.url.startswith((address, "blob:")) or strangers.append(request.url))
    page.on("pageerror", lambda error: strangers.append(f"error in the page: {error}"))
    page.goto(address)
    expect(page.locator("#status")).to_have_text("Ready.")
    return page


def differences(binary, checkpoint, page):
    """The largest difference of logits and of probabilities over all images, and the number of images whose top class differs."""
    paths = images()
    lines = run(binary, "predict", "--checkpoint", checkpoint, "--json", "--logits", *paths).splitlines()
    of_logits = of_probabilities = others = 0
    for path, line in zip(paths, lines, strict=True):
        theirs = json.loads(line)
        ours = page.evaluate(CLASSIFY, base64.b64encode(path.read_bytes()).decode())
        assert "error" not in ours, f"{path.name}: {ours}"
        of_logits = max(of_logits, *(abs(a - b) for a, b in zip(ours["logits"], theirs["logits"], strict=True)))
        for ranked in theirs["top"]:
            of_probabilities = max(of_probabilities, abs(ours["probabilities"][ranked["class"]] - ranked["probability"]))
        best = max(range(len(ours["probabilities"])), key=ours["probabilities"].__getitem__)
        others += best != theirs["top"][0]["class"]
    return len(paths), of_logits, of_probabilities, others


def compare(browser, binary, folder):
    """Compares the page's results with those of `predict`."""
    strangers = []
    trained = folder / "run"
    run(binary, "train", "--config", "configs/quickstart.toml", "--out", trained, "--set", "train.max_steps=60")
    for name, checkpoint in [("float16", MODEL), ("float32", trained)]:
        export(binary, checkpoint, folder / name)
        server, address = serve(folder / name)
        page = open_page(browser, address, strangers)
        count, logits, probabilities, others = differences(binary, checkpoint, page)
        print(f"{name} checkpoint, {count} images: logits differ by up to {logits:.1e}, "
              f"probabilities by up to {probabilities:.1e}, the top class of {others}")
        assert probabilities <= 0.01 and others == 0
        assert name == "float32" or logits <= 1e-4
        page.context.close()
        server.shutdown()
    assert not strangers, strangers


def pictures(page):
    return page.locator("#pictures article")


def add_by_keyboard(page, paths):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    page.locator("#files").set_input_files(paths)


def give(page, event, path):
    """Drops or pastes a file."""
    page.evaluate(
        """async ([event, data, name]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            transfer.items.add(new File([bytes], name));
            document.body.dispatchEvent(event === "drop"
                ? new DragEvent(event, { dataTransfer: transfer, bubbles: true, cancelable: true })
                : new ClipboardEvent(event, { clipboardData: transfer, bubbles: true }));
        }""",
        [event, base64.b64encode(path.read_bytes()).decode(), path.name],
    )


def use_camera(page):
    page.get_by_role("button", name="Use the camera").press("Enter")
    expect(page.locator("#live li").first).to_be_visible()
    page.get_by_role("button", name="Keep this picture").press("Enter")
    expect(page.get_by_role("heading", name="camera, picture 1")).to_be_visible()


def use(browser, folder, screenshots):
    """Uses the page as a person would."""
    strangers = []
    server, address = serve(folder / "float16")
    broken = folder / "notes.png"
    broken.write_text("not an image")

    def shoot(page, name):
        if screenshots:
            page.screenshot(path=screenshots / f"{name}.png", full_page=True)

    page = open_page(browser, address, strangers, viewport=WIDE)
    some = [IMAGES / name for name in ("rgb.png", "wide.png", "lossy.webp", "progressive.jpg", "cmyk.tif")]
    add_by_keyboard(page, some)
    expect(pictures(page)).to_have_count(5)
    expect(page.locator(".time", has_text="ms to classify")).to_have_count(5)
    for event in ("drop", "paste"):
        give(page, event, IMAGES / "exif6.jpg")
    expect(page.locator(".time", has_text="ms to classify")).to_have_count(7)
    shoot(page, "wide")
    page.locator("#files").set_input_files(broken)
    expect(page.locator("#status")).to_contain_text("bytes of another kind of file")
    shoot(page, "error")
    print(page.locator("body").aria_snapshot())
    use_camera(page)
    shoot(page, "camera")
    page.get_by_role("button", name="Close the camera").press("Enter")
    expect(page.locator("#camera")).to_be_hidden()
    page.get_by_role("button", name="Remove all pictures").press("Enter")
    expect(pictures(page)).to_have_count(0)

    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    server.shutdown()
    server.server_close()
    page.reload()
    expect(page.locator("#status")).to_have_text("Ready.")
    page.locator("#files").set_input_files(some[0])
    expect(page.locator(".time", has_text="ms to classify")).to_have_count(1)
    print("classified without the server")
    page.context.close()

    server, address = serve(folder / "float16")
    for name, options in [("dark", {"color_scheme": "dark", "viewport": WIDE}), ("narrow", {"viewport": NARROW})]:
        page = open_page(browser, address, strangers, **options)
        page.locator("#files").set_input_files(some[:3])
        expect(page.locator(".time", has_text="ms to classify")).to_have_count(3)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name}: wider than the screen"
        shoot(page, name)
        page.context.close()
    server.shutdown()
    assert not strangers, strangers


def put(file, site, later):
    """Puts `file` into `site`, with a time that is `later` minutes later. The server compares times by the second."""
    copy = Path(shutil.copy(file, site))
    time = copy.stat().st_mtime + 60 * later
    os.utime(copy, (time, time))


def replace(browser, folder):
    """Another network at the same address is shown. Weights of another network are refused."""
    site = folder / "site"
    shutil.copytree(folder / "float16", site)
    server, address = serve(site)
    page = open_page(browser, address, [])
    expect(page.locator("#names")).to_contain_text("airplane")
    page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    put(folder / "float32/model.json", site, 1)
    put(folder / "float32/model.safetensors", site, 1)
    page.reload()
    expect(page.locator("#names")).to_contain_text("Trouser")
    put(folder / "float16/model.safetensors", site, 2)
    page.reload()
    line = "The network cannot be loaded: the weights are damaged, or of another network than model.json"
    expect(page.locator("#status")).to_have_text(line)
    page.locator("#files").set_input_files(IMAGES / "rgb.png")
    expect(page.locator(".error .time")).to_have_text("the network is not loaded")
    print("another network was shown, and the weights of another network were refused")
    page.context.close()
    server.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's program")
    parser.add_argument("--screenshots", type=Path, help="a folder for pictures of the page")
    options = parser.parse_args()
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        compare(browser, options.binary.resolve(), Path(folder))
        use(browser, Path(folder), options.screenshots)
        replace(browser, Path(folder))
        browser.close()


if __name__ == "__main__":
    main()
