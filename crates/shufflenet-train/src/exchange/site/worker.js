// Runs the network beside the page, so that the page stays responsive.
//
// Takes { id, image } with an image file's bytes, and answers { id, probabilities, logits, decoded, classified } with times in
// milliseconds, or { id, error }. The first message is { manifest } or { error }.
"use strict";

let network;

async function fetched(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

// Memory of the module with these bytes in it, as the arguments that its functions take.
function handed(bytes) {
  const start = network.allocate(bytes.length);
  new Uint8Array(network.memory.buffer, start, bytes.length).set(bytes);
  return [start, bytes.length];
}

function said() {
  const bytes = new Uint8Array(network.memory.buffer, network.answer(), network.answer_length());
  return JSON.parse(new TextDecoder().decode(bytes));
}

function answer() {
  const value = said();
  if (value.error) throw new Error(value.error);
  return value;
}

const reason = () => said().error ?? "out of memory";

async function load() {
  const files = ["shufflenet.wasm", "model.json", "model.safetensors"];
  const [module, manifest, weights] = await Promise.all(files.map(fetched));
  network = (await WebAssembly.instantiate(module)).instance.exports;
  network.load(...handed(manifest), ...handed(weights));
  answer();
  return JSON.parse(new TextDecoder().decode(manifest));
}

function classify(image) {
  const start = performance.now();
  network.prepare(...handed(image));
  answer();
  const prepared = performance.now();
  network.classify();
  const classified = performance.now() - prepared;
  return { ...answer(), decoded: prepared - start, classified };
}

let loaded = load();
loaded.then(
  (manifest) => postMessage({ manifest }),
  (error) => postMessage({ error: error.message }),
);

onmessage = async ({ data: { id, image } }) => {
  await loaded;
  try {
    postMessage({ id, ...classify(new Uint8Array(image)) });
  } catch (error) {
    // The module has ended, for want of memory or by a fault of ours, and says why. Another takes its place.
    const ended = error instanceof WebAssembly.RuntimeError;
    postMessage({ id, error: ended ? `cannot be computed: ${reason()}` : error.message });
    if (ended) loaded = load();
  }
};
