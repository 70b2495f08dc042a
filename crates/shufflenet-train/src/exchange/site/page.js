// The page: takes pictures from a file, a drop, the clipboard or the camera, and shows the classes that the network gives.
"use strict";

const SHOWN = 5;
const $ = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

let classNames = [];
let worker;
let lastId = 0;
let waiting = 0;
const waitingFor = new Map();

// The network's answer for an image file's bytes.
function classify(image) {
  lastId += 1;
  const id = lastId;
  worker.postMessage({ id, image }, [image]);
  return new Promise((resolve) => waitingFor.set(id, resolve));
}

// A name in a sentence, whatever its direction of writing.
const isolated = (name) => `\u2068${name}\u2069`;

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

// The likeliest classes, the likeliest first.
function ranked(probabilities) {
  const classes = probabilities.map((probability, index) => ({ probability, index }));
  classes.sort((a, b) => b.probability - a.probability || a.index - b.index);
  return classes.slice(0, SHOWN);
}

function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (text) made.dir = "auto";
  return made;
}

// Fills a list with a line and a bar for each of the likeliest classes.
function list(target, probabilities) {
  const lines = ranked(probabilities).map(({ probability, index }) => {
    const line = element("li");
    const bar = element("div");
    bar.className = "bar";
    bar.style.width = percent(probability).replace(" ", "");
    bar.setAttribute("aria-hidden", "true");
    line.append(bar, element("span", classNames[index]), element("span", percent(probability)));
    return line;
  });
  target.replaceChildren(...lines);
}

function failed(article, name, error) {
  article.classList.add("error");
  article.querySelector("img")?.remove();
  article.querySelector(".time").textContent = error;
  say(`${isolated(name)}: ${error}`, true);
}

// Shows a picture and its classes, before the pictures from `next` on.
async function show(picture, name, next = $("pictures").firstChild) {
  const article = $("picture").content.cloneNode(true).firstElementChild;
  const image = article.querySelector("img");
  article.querySelector("h2").textContent = name;
  image.onload = () => image.classList.toggle("small", image.naturalWidth < 100);
  // The browser cannot show every format that the network can read.
  image.onerror = () => {
    image.remove();
    article.classList.add("unshown");
  };
  image.src = URL.createObjectURL(picture);
  $("pictures").insertBefore(article, next);
  $("clear").hidden = false;
  waiting += 1;
  let answer;
  try {
    answer = await classify(await picture.arrayBuffer());
  } catch {
    answer = { error: "cannot be read: a folder, or a file that is gone" };
  }
  waiting -= 1;
  // All pictures were removed meanwhile.
  if (!article.isConnected) return;
  if (answer.error) return failed(article, name, answer.error);
  list(article.querySelector("ol"), answer.probabilities);
  const [prepared, classified] = [answer.prepared, answer.classified].map((ms) => ms.toFixed(1));
  article.querySelector(".time").textContent = `${classified} ms to classify, ${prepared} ms to prepare`;
  const [best] = ranked(answer.probabilities);
  const left = waiting > 0 ? `, ${waiting} to go` : "";
  say(`${isolated(name)}: ${isolated(classNames[best.index])}, ${percent(best.probability)}${left}`);
}

function add(files) {
  const next = $("pictures").firstChild;
  for (const file of files) show(file, file.name || "a pasted picture", next);
}

// The camera's picture now, as a PNG file.
function frame() {
  const [video, canvas] = [$("video"), document.createElement("canvas")];
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve));
}

let kept = 0;

async function openCamera() {
  if (!navigator.mediaDevices) return say("The camera needs a page from https or from localhost.", true);
  $("open-camera").disabled = true;
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    $("open-camera").disabled = false;
    return say(`The camera cannot be used: ${error.message}.`, true);
  }
  for (const track of stream.getTracks()) {
    track.onended = () => {
      closeCamera();
      say("The camera has ended.", true);
    };
  }
  const video = $("video");
  video.srcObject = stream;
  $("camera").hidden = false;
  $("close-camera").focus();
  try {
    await video.play();
  } catch (error) {
    closeCamera();
    return say(`The camera cannot be used: ${error.message}.`, true);
  }
  while (video.srcObject === stream) {
    const picture = await frame();
    const answer = picture ? await classify(await picture.arrayBuffer()) : { error: "no picture yet" };
    if (!answer.error) list($("live"), answer.probabilities);
    await new Promise(requestAnimationFrame);
  }
}

function closeCamera() {
  const video = $("video");
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  $("camera").hidden = true;
  $("open-camera").disabled = false;
  $("open-camera").focus();
}

async function keep() {
  const picture = await frame();
  kept += 1;
  if (picture) show(picture, `camera, picture ${kept}`);
}

let loaded = false;

function ready(manifest) {
  classNames = manifest.class_names;
  $("name").textContent = `${manifest.name},`;
  $("licence").textContent = manifest.licence ? `Licence of the weights: ${manifest.licence}.` : "";
  $("count").textContent = `${classNames.length} classes`;
  $("names").replaceChildren(...classNames.map((name) => element("li", name)));
  // A worker that had to be loaded again keeps the message on the reason.
  if (!loaded) say("Ready.");
  loaded = true;
}

function listen() {
  $("files").onchange = ({ target }) => {
    add(target.files);
    target.value = "";
  };
  $("open-camera").onclick = openCamera;
  $("close-camera").onclick = closeCamera;
  $("keep").onclick = keep;
  $("clear").onclick = () => {
    for (const image of document.querySelectorAll("article img")) URL.revokeObjectURL(image.src);
    $("pictures").replaceChildren();
    $("clear").hidden = true;
    say("All pictures are removed.");
    $("files").focus();
  };
  document.onpaste = ({ clipboardData }) => add(clipboardData.files);
  document.ondragover = (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  };
  document.ondragleave = ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("dragging");
  };
  document.ondrop = (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (event.dataTransfer.files.length === 0) return say("Only files can be dropped here.", true);
    add(event.dataTransfer.files);
  };
  document.onkeydown = ({ key }) => {
    if (key === "Escape" && !$("camera").hidden) closeCamera();
  };
}

// Makes the browser keep the page's files. Browsers do this only for https and localhost.
async function keepFiles() {
  if (!navigator.serviceWorker) return;
  try {
    await navigator.serviceWorker.register("service-worker.js");
    await navigator.serviceWorker.ready;
    $("offline").textContent = "This page also works offline.";
  } catch {
    // Without the stored files the page needs the internet connection.
  }
}

function start() {
  if (location.protocol === "file:") {
    return say("This page needs a web server. In its folder, run: python3 -m http.server", true);
  }
  if (typeof WebAssembly === "undefined") return say("This browser is too old: it has no WebAssembly.", true);
  worker = new Worker("worker.js");
  worker.onmessage = ({ data }) => {
    if (data.manifest) return ready(data.manifest);
    if (!data.id) return say(`The network cannot be loaded: ${data.error}`, true);
    waitingFor.get(data.id)(data);
    waitingFor.delete(data.id);
  };
  worker.onerror = ({ message }) => say(`The network cannot be loaded: ${message ?? "worker.js is missing"}`, true);
  listen();
  keepFiles();
}

start();
