// Keeps the page's files, so that the page works without a network once it has been loaded. While there is a network,
// the server's files are used and kept.
"use strict";

const KEPT = "shufflenet";
const FILES = [
  "./", "index.html", "page.css", "page.js", "worker.js", "icon.svg", "LICENCES.txt",
  "shufflenet.wasm", "model.json", "model.safetensors",
];
const addresses = new Set(FILES.map((name) => new URL(name, location).href));

// Asks the server, whatever the browser has stored: another network may be at the same address by now.
const fresh = (address) => new Request(address, { cache: "no-cache" });

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(caches.open(KEPT).then((kept) => kept.addAll(FILES.map(fresh))));
});

addEventListener("activate", (event) => event.waitUntil(clients.claim()));

async function keep(address, response) {
  try {
    await (await caches.open(KEPT)).put(address, response);
  } catch {
    // The storage is full. The page then needs the internet connection.
  }
}

async function answer(address) {
  let response;
  try {
    response = await fetch(fresh(address));
  } catch (error) {
    const kept = await caches.match(address);
    if (kept) return kept;
    throw error;
  }
  if (response.ok) await keep(address, response.clone());
  return response;
}

addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  const address = origin + pathname;
  if (event.request.method === "GET" && addresses.has(address)) event.respondWith(answer(address));
});
