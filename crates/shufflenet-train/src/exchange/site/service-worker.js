// Keeps the page's files, so that the page works without a network once it has been loaded. While there is a network,
// the server's files are used.
"use strict";

const KEPT = "shufflenet";
const FILES = [
  "./", "index.html", "page.css", "page.js", "worker.js", "icon.svg", "LICENCES.txt",
  "shufflenet.wasm", "model.json", "model.safetensors",
];

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(caches.open(KEPT).then((kept) => kept.addAll(FILES)));
});

addEventListener("activate", (event) => event.waitUntil(clients.claim()));

async function answer(request) {
  const kept = await caches.open(KEPT);
  try {
    const response = await fetch(request);
    if (response.ok) await kept.put(request, response.clone());
    return response;
  } catch (error) {
    const response = await kept.match(request, { ignoreSearch: true });
    if (response) return response;
    throw error;
  }
}

addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});
