// Runs the network beside the page, so that the page stays responsive.
//
// Takes { id, image } with an image file's bytes, and answers { id, probabilities, logits, prepared, classified } with times in
// milliseconds, or { id, error }. A message without an id is { manifest } or { error }: the network is loaded, or cannot be.
"use strict";

let network;

async function fetched(name) {
  // Asks the server, whatever the browser has stored: another network may be at the same address by now.
  const response = await fetch(name, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${name}: the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

// Memory of the module with these bytes in it, as the arguments that its functions take.
function handed(bytes) {
  const start = network.allocate(bytes.length) >>> 0;
  new Uint8Array(network.memory.buffer, start, bytes.length).set(bytes);
  return [start, bytes.length];
}

function said() {
  const bytes = new Uint8Array(network.memory.buffer, network.answer() >>> 0, network.answer_length());
  return JSON.parse(new TextDecoder().decode(bytes));
}

function answer() {
  const value = said();
  if (value.error) throw new Error(value.error);
  return value;
}


async function load() {
  const files = ["shufflenet.wasm", "model.json", "model.safetensors"];
  const [module, manifest, weights] = await Promise.all(files.map(fetched));
  network = (await WebAssembly.instantiate(module)).instance.exports;
  network.load(...handed(manifest), ...handed(weights));
  answer();
  postMessage({ manifest: JSON.parse(new TextDecoder().decode(manifest)) });
}

// The reason of an error. A module that ended, for want of memory or by a fault of ours, says why.
const reason = (error) =>
  error instanceof WebAssembly.RuntimeError ? (said().error ?? "out of memory") : error.message;

function classify(image) {
  const start = performance.now();
  network.prepare(...handed(image));
  answer();
  const prepared = performance.now();
  network.classify();
  const classified = performance.now() - prepared;
  return { ...answer(), prepared: prepared - start, classified };
}

// Whether the network is loaded. The page gets a message about a failure.
function begin() {
  return load().then(
    () => true,
    (error) => {
      postMessage({ error: reason(error) });
      return false;
    },
  );
}

let loaded = begin();

onmessage = async ({ data: { id, image } }) => {
  if (!(await loaded)) return postMessage({ id, error: "the network is not loaded" });
  try {
    postMessage({ id, ...classify(new Uint8Array(image)) });
  } catch (error) {
    postMessage({ id, error: reason(error) });
    // The module has failed or has more memory than it needs, so a new one replaces it.
    if (error instanceof WebAssembly.RuntimeError || error instanceof RangeError) loaded = begin();
  }
};
