#!/usr/bin/env python3
"""Measures milliseconds per image in headless Chromium on one thread: the module of `shufflenet export --format web`, and
onnxruntime-web on the exported ONNX file of the same network.

    scripts/build_web && cargo build --release --features web
    pip install playwright; npm and Chromium of the system
    python3 scripts/race_in_browser.py --binary target/release/shufflenet

Both run in the same page and alternate. A line has the median of each over the rounds, the quartiles, and the median of the
rounds' ratios.
"""

import argparse
import functools
import http.server
import json
import statistics
import subprocess
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGE = ROOT / "crates/shufflenet-data/tests/fixtures/images/progressive.jpg"
ONNXRUNTIME = "1.30.0"
# Width, stem, side of the images, calls per round.
CASES = [(0.5, "cifar", 32, 100), (1.0, "cifar", 32, 40), (0.5, "imagenet", 224, 20), (1.0, "imagenet", 224, 8)]

PAGE = """<!doctype html><title>race</title><script src="ort/ort.wasm.min.js"></script><script>
async function fetched(name) { return new Uint8Array(await (await fetch(name)).arrayBuffer()); }
async function start(folder, size) {
  const instance = await WebAssembly.instantiate(await fetched(`${folder}/site/shufflenet.wasm`));
  const ours = instance.instance.exports;
  const handed = (bytes) => {
    const place = ours.allocate(bytes.length);
    new Uint8Array(ours.memory.buffer, place, bytes.length).set(bytes);
    return [place, bytes.length];
  };
  const of_site = (name) => fetched(`${folder}/site/${name}`);
  const answer = () => {
    const bytes = new Uint8Array(ours.memory.buffer, ours.answer(), ours.answer_length());
    const value = JSON.parse(new TextDecoder().decode(bytes));
    if (value.error) throw new Error(value.error);
    return value;
  };
  ours.load(...handed(await of_site("model.json")), ...handed(await of_site("model.safetensors")));
  answer();
  ours.prepare(...handed(await fetched("image")));
  answer();
  ours.classify();
  if (answer().logits.length !== 10) throw new Error("ours has no logits");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  const theirs = await ort.InferenceSession.create(`${folder}/network.onnx`, { executionProviders: ["wasm"] });
  const pixels = Float32Array.from({ length: 3 * size * size }, (_, i) => Math.sin(i));
  const feeds = { [theirs.inputNames[0]]: new ort.Tensor("float32", pixels, [1, 3, size, size]) };
  const logits = (await theirs.run(feeds))[theirs.outputNames[0]].data;
  if (logits.length !== 10 || !logits.every(Number.isFinite)) throw new Error("theirs has no logits");
  window.racers = { ours: () => ours.classify(), theirs: () => theirs.run(feeds) };
}
async function milliseconds(racer, calls) {
  const run = window.racers[racer];
  const start = performance.now();
  for (let call = 0; call < calls; call += 1) await run();
  return (performance.now() - start) / calls;
}
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """A server with headers that isolate the page from other origins, so that its clock is exact to five microseconds."""

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *arguments):
        pass


def run(*arguments, cwd=ROOT):
    return subprocess.run(list(map(str, arguments)), check=True, capture_output=True, text=True, cwd=cwd).stdout


def prepare(binary, folder, scale, stem, size):
    """An untrained network for the page and as ONNX. Speed does not depend on the weights."""
    trained = folder / "run"
    run(binary, "train", "--config", "configs/quickstart.toml", "--out", trained,
        "--set", "data.format=synthetic", "--set", f"data.options.synthetic.size={size}", "--set", "data.validation=0",
        "--set", f"model.scale={scale}", "--set", f"model.stem={stem}", "--set", "model.input_channels=3",
        "--set", "data.options.synthetic.train=16", "--set", "data.options.synthetic.test=16",
        "--set", "train.max_steps=1", "--set", "train.batch_size=8")
    run(binary, "export", "--checkpoint", trained, "--format", "web", "--out", folder / "site")
    run(binary, "export", "--checkpoint", trained, "--format", "onnx", "--out", folder / "network.onnx")


def quartiles(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:8.3f} ({low:.3f} to {high:.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's program")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        run("npm", "pack", "--silent", f"onnxruntime-web@{ONNXRUNTIME}", cwd=folder)
        run("tar", "xzf", f"onnxruntime-web-{ONNXRUNTIME}.tgz", cwd=folder)
        (folder / "package/dist").rename(folder / "ort")
        (folder / "index.html").write_text(PAGE)
        (folder / "image").write_bytes(IMAGE.read_bytes())
        server = http.server.ThreadingHTTPServer(("localhost", 0), functools.partial(Handler, directory=place))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=options.chromium)
        print(f"Chromium {browser.version}, onnxruntime-web {ONNXRUNTIME}, {options.rounds} rounds; milliseconds an image")
        print("network      size      ours (quartiles)           onnxruntime-web (quartiles)   theirs/ours")
        for scale, stem, size, calls in CASES:
            name = f"x{scale}-{size}"
            (folder / name).mkdir()
            prepare(options.binary.resolve(), folder / name, scale, stem, size)
            page = browser.new_page()
            page.goto(f"http://localhost:{server.server_port}/")
            page.evaluate(f"start({json.dumps(name)}, {size})")
            times = {"ours": [], "theirs": []}
            for round_ in range(options.rounds + 2):
                # The two take turns in going first.
                for racer, taken in sorted(times.items(), reverse=round_ % 2 == 1):
                    value = page.evaluate(f"milliseconds('{racer}', {calls})")
                    # The first two rounds are a warm-up.
                    if round_ >= 2:
                        taken.append(value)
            ratio = statistics.median(b / a for a, b in zip(*times.values()))
            print(f"x{scale} {stem:9} {size:4}  {quartiles(times['ours'])}   {quartiles(times['theirs'])}   {ratio:.2f}")
            page.close()
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
