// Image and question in; words, places and masks out, as the server tells them.
"use strict";

import { ANSWER, center, corners, drawn, maskPixels, wordColour } from "./picture.js";

// Words that a text is taken to have while it is written: their colours are set right at its end.
const EXPECTED_WORDS = 14;
// Width of the picture in the units of its marks; the screen decides how large it is shown.
const WIDTH = 1000;
// How far an arrow key goes, as a share of the image.
const STEP = 0.02;
// How near to a corner or a point counts as on it, in pixels of the screen.
const NEAR = 14;
// Time on a word when the words are followed, in milliseconds.
const PACE = 420;

const find = (id) => document.getElementById(id);
const stage = find("stage"), marks = find("marks"), image = find("image"), frame = find("frame");
const caption = find("caption"), list = find("list"), note = find("note"), answerBox = find("answer");

const TASKS = { narrate: "Narrate", describe: "Describe", locate: "Locate", detect: "Detect" };
const HOW = {
  box: "Drag a box over the image. With the keyboard: go to the image; the arrow keys move the box, with Shift they resize it.",
  points: "Click what is meant; with Shift, what is not. With the keyboard: the arrow keys move a cursor, Enter sets a point, Shift and Enter one that is off; Backspace takes the last one back.",
  trace: "Draw a line over what is meant. With the keyboard: the arrow keys move a cursor, Space puts the pen down and up.",
};

let model, task, loaded;
// What is drawn on the image, as shares of it.
const place = { box: null, points: [], not: [], trace: [] };
let cursor = [0.5, 0.5], penDown = false;
// The answer that is shown, with what was asked.
let shown = null;
let running = null;

/* ---------- The image ---------- */

async function load(blob, name) {
  stop();
  clearError();
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    showError(`${name} is not an image that can be read.`, "Choose a PNG or JPEG image, or another that your browser shows.");
    return;
  }
  const fitting = await fitted(blob, bitmap);
  bitmap.close();
  if (!fitting) {
    showError(`${name} is too large for this server.`, "Choose a smaller image.");
    return;
  }
  if (loaded) URL.revokeObjectURL(loaded.url);
  loaded = { blob: fitting, name: name.replace(/\.[^.]*$/, "") || "image", url: URL.createObjectURL(fitting) };
  image.src = loaded.url;
  await image.decode();
  image.alt = `The image ${name}`;
  forgetPlace();
  forgetAnswer();
  find("drop").hidden = true;
  stage.hidden = false;
  frame.classList.remove("empty");
  find("other").hidden = false;
  layOut();
  redraw();
  if (task === "narrate" || task === "detect" || (task === "locate" && find("text").value.trim())) ask();
}

/** The image as the server takes it: as it is, or by way of a canvas where it has another format or is too large. */
async function fitted(blob, bitmap) {
  const head = new Uint8Array(await blob.slice(0, 4).arrayBuffer());
  const isPng = head[0] === 0x89 && head[1] === 0x50, isJpeg = head[0] === 0xff && head[1] === 0xd8;
  const pixels = bitmap.width * bitmap.height;
  // Room for the question.
  const most = model.limits.upload_bytes - 65536;
  if ((isPng || isJpeg) && blob.size <= most && pixels <= model.limits.pixels) return blob;
  let scale = Math.min(1, Math.sqrt(model.limits.pixels / pixels) * 0.999);
  for (let attempt = 0; attempt < 6; attempt++, scale *= 0.7) {
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.floor(bitmap.width * scale));
    canvas.height = Math.max(1, Math.floor(bitmap.height * scale));
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const type = canvas.width * canvas.height < 1e6 ? "image/png" : "image/jpeg";
    const made = await new Promise((done) => canvas.toBlob(done, type, 0.92));
    if (made && made.size <= most) return made;
  }
  return null;
}

/** As large as its frame allows, in its own proportions. */
function layOut() {
  if (stage.hidden) return;
  const tall = innerWidth <= 832 ? innerHeight * 0.5 : Math.max(innerHeight * 0.7, 320);
  const room = frame.clientWidth;
  const aspect = image.naturalWidth / image.naturalHeight;
  const width = Math.min(room, tall * aspect);
  stage.style.width = `${width}px`;
  stage.style.height = `${width / aspect}px`;
  marks.setAttribute("viewBox", `0 0 ${WIDTH} ${WIDTH / aspect}`);
}

// An image has no size while the next one is decoded; what is drawn then is drawn again with it.
const unitHeight = () => image.naturalWidth ? WIDTH * image.naturalHeight / image.naturalWidth : WIDTH;

/* ---------- Marks on the image ---------- */

function mark(kind, classes, attributes, key) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
  element.setAttribute("class", classes);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (key !== undefined) element.dataset.key = key;
  marks.append(element);
}

function markBox(found, classes, stroke, key) {
  const height = unitHeight(), inset = 2;
  const clip = (value, most) => Math.min(Math.max(value, inset), most - inset);
  const [x0, y0] = [clip(found[0] * WIDTH, WIDTH), clip(found[1] * height, height)];
  const [x1, y1] = [clip(found[2] * WIDTH, WIDTH), clip(found[3] * height, height)];
  mark("rect", classes, { x: x0, y: y0, width: Math.max(x1 - x0, 0), height: Math.max(y1 - y0, 0), stroke }, key);
}

/** A round dot: a line without length has round ends, whatever the picture is stretched to. */
function markDot([x, y], classes, stroke, key) {
  const height = unitHeight();
  const at = { x1: x * WIDTH, y1: y * height, x2: x * WIDTH + 0.01, y2: y * height };
  mark("line", classes, stroke ? { ...at, stroke } : at, key);
}

const path = (points) => points.map(([x, y]) => `${x * WIDTH},${y * unitHeight()}`).join(" ");

function redraw() {
  marks.replaceChildren();
  if (!loaded) return;
  if (shown?.task === "narrate") drawWords(shown.result.words);
  if (shown?.task === "locate") {
    const found = corners(shown.result.bounds);
    if (found) markBox(found, "region", ANSWER, 0);
  }
  if (shown?.task === "detect") {
    shown.result.forEach(({ bounds }, i) => {
      const found = corners(bounds);
      if (found) markBox(found, "region", wordColour(i, shown.result.length), i);
    });
  }
  if (task === "describe") drawPlace();
  relight();
}

function drawWords(words, count = words.length) {
  // Many boxes would hide the image: they are seen when they are pointed at.
  marks.style.setProperty("--box", Math.min(Math.max(4 / words.length, 0.1), 0.5));
  let last = null;
  const found = words.map(({ bounds }) => corners(bounds));
  found.forEach((one, i) => one && markBox(one, "box", wordColour(i, count), i));
  found.forEach((one, i) => {
    if (!one) return;
    const here = center(one);
    if (last) mark("polyline", "trace", { points: path([last, here]), stroke: wordColour(i - 0.5, count) });
    last = here;
  });
  found.forEach((one, i) => one && markDot(center(one), "center", wordColour(i, count), i));
}

function drawPlace() {
  const kind = placeKind();
  if (kind === "box" && place.box) {
    markBox(place.box, "asked", ANSWER);
    for (const corner of boxCorners()) {
      markDot(corner, "grip");
      markDot(corner, "grip inner");
    }
  }
  if (kind === "points") {
    for (const [points, off] of [[place.points, ""], [place.not, " off"]]) {
      for (const point of points) {
        markDot(point, "dot");
        markDot(point, `dot inner${off}`);
      }
    }
  }
  if (kind === "trace" && place.trace.length) mark("polyline", "asked", { points: path(place.trace) });
  if (kind !== "box" && document.activeElement === stage) {
    const [x, y] = cursor, reach = 0.03;
    mark("polyline", "cursor", { points: path([[x - reach, y], [x + reach, y]]) });
    mark("polyline", "cursor", { points: path([[x, y - reach], [x, y + reach]]) });
  }
}

/* ---------- Pointing: at words, boxes and the image ---------- */

const texts = () => [...caption.querySelectorAll(".word"), ...list.children];

// The key of what is pointed at.
let lit;

function light(key) {
  lit = key;
  relight();
  const text = lit !== undefined && texts().find((element) => element.dataset.key === String(lit));
  note.textContent = text ? text.dataset.note : "\u00a0";
}

function relight() {
  document.body.classList.toggle("pointing", lit !== undefined);
  for (const element of [...texts(), ...marks.children]) {
    element.classList.toggle("on", lit !== undefined && element.dataset.key === String(lit));
  }
}

const rest = () => light(texts().find((element) => element === document.activeElement)?.dataset.key);

function listen(element) {
  element.addEventListener("pointerenter", () => { unfollow(); light(element.dataset.key); });
  element.addEventListener("pointerleave", rest);
  element.addEventListener("focus", () => { unfollow(); light(element.dataset.key); });
  element.addEventListener("blur", rest);
  element.addEventListener("keydown", (event) => {
    const all = texts(), step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      all[all.indexOf(element) + step]?.focus();
    } else if (event.key === "Escape") {
      element.blur();
    }
  });
}

/** Of the boxes around the pointer the one whose centre is nearest. */
function keyAt([x, y]) {
  const found = shown?.task === "narrate" ? shown.result.words : shown?.task === "detect" ? shown.result : [];
  let best, least = Infinity;
  found.forEach(({ bounds }, index) => {
    const box = corners(bounds);
    if (!box) return;
    const [x0, y0, x1, y1] = box, [cx, cy] = center(box);
    const isInside = x >= x0 && x <= x1 && y >= y0 && y <= y1;
    const distance = Math.hypot(x - cx, y - cy);
    if ((isInside || distance < 0.05) && distance < least) [best, least] = [index, distance];
  });
  return best;
}

let following = null;
function unfollow() {
  clearInterval(following);
  following = null;
}
find("follow").addEventListener("click", () => {
  if (following) { unfollow(); rest(); return; }
  let index = 0;
  const next = () => {
    if (index < shown.result.words.length) light(index++);
    else { unfollow(); rest(); }
  };
  following = setInterval(next, PACE);
  next();
});

/* ---------- Places that are asked about ---------- */

const placeKind = () => document.querySelector("input[name=kind]:checked").value;
const clamp = (value, low = 0, high = 1) => Math.min(Math.max(value, low), high);

function forgetPlace() {
  Object.assign(place, { box: null, points: [], not: [], trace: [] });
  cursor = [0.5, 0.5];
  penDown = false;
}

function boxCorners() {
  const [x0, y0, x1, y1] = place.box;
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
}

function shareAt(event) {
  const { left, top, width, height } = stage.getBoundingClientRect();
  return [clamp((event.clientX - left) / width), clamp((event.clientY - top) / height)];
}

/** Index of the first of `points` that is near, on the screen. */
function nearest(points, [x, y]) {
  const { width, height } = stage.getBoundingClientRect();
  return points.findIndex((point) => Math.hypot((point[0] - x) * width, (point[1] - y) * height) < NEAR);
}

const around = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];

let drag = null;
stage.addEventListener("pointerdown", (event) => {
  unfollow();
  if (task !== "describe" || event.button > 0) { light(keyAt(shareAt(event))); return; }
  const at = shareAt(event), kind = placeKind();
  stage.setPointerCapture(event.pointerId);
  if (kind === "box") {
    const grip = place.box ? nearest(boxCorners(), at) : -1;
    const isInside = place.box && at[0] > place.box[0] && at[0] < place.box[2] && at[1] > place.box[1] && at[1] < place.box[3];
    if (grip >= 0) drag = { fixed: boxCorners()[(grip + 2) % 4] };
    else if (isInside && place.box[2] - place.box[0] < 0.95) drag = { moved: at, box: place.box };
    else drag = { fixed: at, before: place.box };
  } else if (kind === "points") {
    const isOff = event.shiftKey || find("off").checked;
    for (const points of [place.points, place.not]) {
      const old = nearest(points, at);
      if (old >= 0) { points.splice(old, 1); placed(); return; }
    }
    (isOff ? place.not : place.points).push(at);
    placed();
  } else {
    place.trace = [at];
    drag = { trace: true };
  }
  redraw();
});
stage.addEventListener("pointermove", (event) => {
  if (!drag) {
    if (task !== "describe" && !running) light(keyAt(shareAt(event)));
    return;
  }
  const at = shareAt(event);
  if (drag.trace) place.trace.push(at);
  else if (drag.fixed) place.box = around(drag.fixed, at);
  else {
    const [x0, y0, x1, y1] = drag.box;
    const dx = clamp(at[0] - drag.moved[0], -x0, 1 - x1), dy = clamp(at[1] - drag.moved[1], -y0, 1 - y1);
    place.box = [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
  }
  redraw();
});
stage.addEventListener("pointerup", () => {
  if (!drag) return;
  const box = place.box;
  // A click draws no box.
  if (drag.fixed && box && (box[2] - box[0] < 0.01 || box[3] - box[1] < 0.01)) place.box = drag.before ?? null;
  drag = null;
  placed();
});
stage.addEventListener("pointercancel", () => { drag = null; });
stage.addEventListener("pointerleave", () => { if (!drag && task !== "describe") rest(); });
stage.addEventListener("focus", redraw);
stage.addEventListener("blur", redraw);

let settled;
/** The place has changed: asks about it, in a moment where keys change it. */
function placed(wait = 0) {
  redraw();
  note.textContent = placeNote();
  clearTimeout(settled);
  if (placeRequest()) settled = setTimeout(ask, wait);
}

function placeNote() {
  const percent = (value) => Math.round(value * 100);
  const kind = placeKind();
  if (kind === "box" && place.box) {
    const [x0, y0, x1, y1] = place.box.map(percent);
    return `Box from ${x0}, ${y0} to ${x1}, ${y1} % of the image`;
  }
  if (kind === "points") {
    return `Points: ${place.points.length} on it, ${place.not.length} off it; cursor at ${percent(cursor[0])}, ${percent(cursor[1])} %`;
  }
  if (kind === "trace" && place.trace.length) return `A line of ${place.trace.length} points`;
  return "\u00a0";
}

stage.addEventListener("keydown", (event) => {
  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const direction = directions[event.key];
  if (task !== "describe") return;
  const kind = placeKind();
  if (direction) {
    event.preventDefault();
    const [dx, dy] = direction.map((value) => value * STEP);
    if (kind === "box") moveBox(dx, dy, event.shiftKey);
    else moveCursor(dx, dy, kind);
  } else if (event.key === "Enter" && kind === "points") {
    (event.shiftKey || find("off").checked ? place.not : place.points).push([...cursor]);
    placed();
  } else if (event.key === "Backspace" && kind === "points") {
    event.preventDefault();
    (place.not.length ? place.not : place.points).pop();
    placed();
  } else if (event.key === " " && kind === "trace") {
    event.preventDefault();
    penDown = !penDown;
    if (penDown) place.trace = [[...cursor]];
    placed();
  } else if (event.key === "Enter") {
    ask();
  }
});

function moveBox(dx, dy, resizes) {
  const [x0, y0, x1, y1] = place.box ?? [0.3, 0.3, 0.7, 0.7];
  if (!place.box) place.box = [x0, y0, x1, y1];
  else if (resizes) place.box = [x0, y0, clamp(x1 + dx, x0 + STEP), clamp(y1 + dy, y0 + STEP)];
  else {
    const [mx, my] = [clamp(dx, -x0, 1 - x1), clamp(dy, -y0, 1 - y1)];
    place.box = [x0 + mx, y0 + my, x1 + mx, y1 + my];
  }
  placed(500);
}

function moveCursor(dx, dy, kind) {
  cursor = [clamp(cursor[0] + dx), clamp(cursor[1] + dy)];
  if (kind === "trace" && penDown) place.trace.push([...cursor]);
  redraw();
  note.textContent = placeNote();
}

/** What the server is asked about; null where nothing is marked yet. */
function placeRequest() {
  const kind = placeKind();
  if (kind === "box") return place.box && { box: place.box };
  if (kind === "points") return place.points.length ? { points: place.points, not: place.not } : null;
  return place.trace.length ? { trace: thinned(place.trace) } : null;
}

/** At most 512 points: the server takes no more than a few thousand. */
function thinned(points) {
  const step = Math.ceil(points.length / 512);
  return points.filter((_, index) => index % step === 0 || index === points.length - 1);
}

/* ---------- Asking ---------- */

function request() {
  if (task === "describe") return placeRequest();
  if (task === "locate") {
    const text = find("text").value.trim();
    return text ? { text, mask: model.masks && find("want-mask").checked } : null;
  }
  if (task === "detect") return { min_score: Number(find("score").value) };
  return {};
}

const MISSING = {
  describe: "Mark a place on the image first.",
  locate: "Say what to look for first.",
};

async function ask() {
  clearTimeout(settled);
  clearError();
  if (!loaded) {
    showError("There is no image yet.", "Choose one, drop one, or take one of the examples.");
    return;
  }
  const asked = request();
  if (!asked) {
    showError(MISSING[task], "");
    return;
  }
  stop();
  const mine = running = new AbortController();
  begin();
  const form = new FormData();
  form.append("image", loaded.blob, "image");
  form.append("request", JSON.stringify(asked));
  const isStreamed = task === "narrate" || task === "describe";
  try {
    const response = await fetch(`/api/${task}${isStreamed ? "/stream" : ""}`, { method: "POST", body: form, signal: mine.signal });
    if (!response.ok) throw await failure(response);
    const answer = isStreamed ? await follow(response) : await response.json();
    if (running === mine) finish(asked, answer);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.help !== undefined) showError(error.message, error.help);
    else showError("The server cannot be reached.", "See whether it still runs, then ask again.");
    if (running === mine) forgetAnswer();
  } finally {
    if (running === mine) {
      running = null;
      answerBox.classList.remove("busy");
    }
  }
}

async function failure(response) {
  try {
    const { error } = await response.json();
    return Object.assign(new Error(error.message), { help: error.help });
  } catch {
    return Object.assign(new Error(`The server answered ${response.status}.`), { help: "" });
  }
}

/** Reads the events of a text as it is written; the whole answer at its end. */
async function follow(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", answer = null;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) => lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
      const kind = field("event"), data = JSON.parse(field("data") ?? "null");
      if (kind === "word") addWord(data);
      if (kind === "done") answer = data;
      if (kind === "error") throw Object.assign(new Error(data.error.message), { help: data.error.help });
    }
  }
  if (!answer) throw Object.assign(new Error("The answer broke off."), { help: "Ask again." });
  return answer;
}

function stop() {
  running?.abort();
  running = null;
  unfollow();
}

function begin() {
  shown = null;
  hearing = [];
  lit = undefined;
  caption.replaceChildren();
  caption.hidden = false;
  list.replaceChildren();
  list.hidden = true;
  find("facts").textContent = "";
  find("downloads").hidden = true;
  find("mask").hidden = true;
  answerBox.hidden = false;
  answerBox.classList.add("busy");
  redraw();
}

// The words of the text that is being written.
let hearing = [];
function addWord(word) {
  hearing.push(word);
  const count = Math.max(hearing.length, EXPECTED_WORDS);
  caption.append(wordElement(word, hearing.length - 1, count), " ");
  if (task !== "narrate") return;
  marks.replaceChildren();
  drawWords(hearing, count);
  light(hearing.length - 1);
}

function wordElement(word, index, count) {
  const element = document.createElement("span");
  element.className = "word";
  element.textContent = word.text;
  if (word.bounds === undefined) return element;
  const found = corners(word.bounds);
  element.tabIndex = 0;
  element.dataset.key = index;
  element.classList.toggle("placed", found !== null);
  element.style.setProperty("--c", wordColour(index, count));
  const at = found ? `centre ${center(found).map((value) => value.toFixed(2)).join(", ")}` : "no place";
  element.dataset.note = `${word.text} · ${at} · probability ${Math.exp(word.log_prob).toFixed(2)}`;
  listen(element);
  return element;
}

function finish(asked, answer) {
  shown = { ...answer, asked };
  const { result } = answer;
  if (task === "narrate") {
    // Words stay the elements that they are: a screen reader has read them.
    [...caption.querySelectorAll(".word")].forEach((element, index) =>
      element.style.setProperty("--c", wordColour(index, result.words.length)));
    if (!result.words.length) caption.textContent = "The model said nothing.";
  } else if (task === "describe") {
    if (!result.caption) caption.textContent = "The model said nothing.";
  } else if (task === "locate") {
    caption.textContent = result.expression;
    showMask(result.mask);
  } else {
    showDetections(result);
  }
  find("facts").textContent = facts(answer);
  find("downloads").hidden = false;
  find("follow").hidden = task !== "narrate" || result.words.length < 2;
  redraw();
  if (task === "describe") note.textContent = placeNote();
  else light();
}

function facts({ task, result, image: { width, height }, timings_ms: times }) {
  const parts = [];
  if (task === "locate") {
    const found = corners(result.bounds);
    const inPixels = (value, index) => Math.round(value * (index % 2 ? height : width));
    parts.push(found ? `Box ${found.map(inPixels).join(", ")} in pixels` : "No place");
    if (result.mask) parts.push(`expected mask IoU ${result.mask.predicted_iou?.toFixed(2) ?? "–"}`);
  } else if (task === "detect") {
    parts.push(result.length === 1 ? "1 found" : `${result.length} found`);
  } else if (result.score !== null) {
    parts.push(`Log-probability a word ${result.score.toFixed(2)}`);
  }
  const total = times.queue + times.image + times.task;
  parts.push(total < 1000 ? `${Math.round(total)} ms` : `${(total / 1000).toFixed(1)} s`);
  return parts.join(" · ");
}

function showMask(mask) {
  const canvas = find("mask");
  canvas.hidden = !mask;
  if (!mask) return;
  const pixels = maskPixels(mask.segmentation);
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function showDetections(found) {
  caption.textContent = found.length ? "" : "Nothing was found.";
  caption.hidden = found.length > 0;
  list.hidden = found.length === 0;
  found.forEach(({ caption: text, score }, index) => {
    const item = document.createElement("li");
    item.tabIndex = 0;
    item.dataset.key = index;
    item.dataset.note = `${text} · score ${score?.toFixed(2) ?? "–"}`;
    item.style.setProperty("--c", wordColour(index, found.length));
    const words = document.createElement("span"), number = document.createElement("span");
    words.textContent = text || "(no words)";
    number.className = "score";
    number.textContent = score?.toFixed(2) ?? "–";
    item.append(words, number);
    listen(item);
    list.append(item);
  });
}

function forgetAnswer() {
  shown = null;
  answerBox.hidden = true;
  answerBox.classList.remove("busy");
  find("mask").hidden = true;
  light();
  redraw();
}

/* ---------- Errors and files ---------- */

function showError(message, help) {
  const box = find("error"), head = document.createElement("b");
  head.textContent = message;
  box.replaceChildren(head, help);
  box.hidden = false;
}

function clearError() {
  find("error").hidden = true;
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

find("save-json").addEventListener("click", () => {
  const { asked, ...answer } = shown;
  const text = JSON.stringify({ ...answer, request: asked }, null, 2);
  save(new Blob([text], { type: "application/json" }), `${loaded.name}-${shown.task}.json`);
});
find("save-png").addEventListener("click", () => {
  drawn(image, shown.asked, shown).toBlob((blob) => save(blob, `${loaded.name}-${shown.task}.png`));
});

find("choose").addEventListener("click", () => find("file").click());
find("other").addEventListener("click", () => find("file").click());
find("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) takeFile(file);
});
function takeFile(file) {
  pressExample(null);
  load(file, file.name || "The image");
}
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    frame.classList.toggle("over", kind === "dragover");
    const [file] = kind === "drop" ? event.dataTransfer.files : [];
    if (file) takeFile(file);
  });
}
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) takeFile(file);
});

/* ---------- Tasks ---------- */

function choose(name) {
  stop();
  task = name;
  clearError();
  forgetAnswer();
  for (const tab of find("tasks").children) {
    const isChosen = tab.dataset.task === name;
    tab.setAttribute("aria-selected", isChosen);
    tab.tabIndex = isChosen ? 0 : -1;
  }
  for (const one of Object.keys(TASKS)) find(one).hidden = one !== name;
  find("question").setAttribute("aria-labelledby", `tab-${name}`);
  caption.hidden = false;
  const draws = name === "describe";
  stage.classList.toggle("draws", draws);
  if (draws) {
    stage.tabIndex = 0;
    stage.setAttribute("role", "application");
  } else {
    stage.removeAttribute("tabindex");
    stage.removeAttribute("role");
  }
  tellHow();
  redraw();
  if (loaded && (name === "narrate" || name === "detect")) ask();
}

function tellHow() {
  const kind = placeKind(), caution = model.describe?.[kind];
  find("how").textContent = HOW[kind];
  stage.setAttribute("aria-label", `Image. ${task === "describe" ? HOW[kind] : ""}`);
  find("off-row").hidden = kind !== "points";
  find("learnt").hidden = !caution;
  find("learnt").textContent = caution ? `Note: ${caution}.` : "";
}

for (const radio of document.querySelectorAll("input[name=kind]")) {
  radio.addEventListener("change", () => {
    tellHow();
    forgetAnswer();
    if (loaded && placeRequest()) ask();
  });
}
find("clear").addEventListener("click", () => { stop(); forgetPlace(); forgetAnswer(); });
find("score").addEventListener("input", (event) => {
  find("score-text").textContent = Number(event.target.value).toFixed(2);
});
for (const name of Object.keys(TASKS)) {
  find(name).addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
}

function pressExample(button) {
  for (const one of find("examples").children) one.setAttribute("aria-pressed", one === button);
}

async function start() {
  try {
    model = await (await fetch("/api/model")).json();
  } catch {
    showError("The server cannot be reached.", "See whether it still runs, then load this page again.");
    return;
  }
  const parameters = new Intl.NumberFormat("en", { notation: "compact" }).format(model.parameters);
  find("model").textContent = `${model.name} · ${parameters} parameters · ${model.device}`;
  document.title = `${model.name} · pixelllm`;
  find("mask-row").hidden = !model.masks;
  for (const name of Object.keys(TASKS).filter((name) => model.tasks.includes(name))) {
    const tab = document.createElement("button");
    Object.assign(tab, { type: "button", id: `tab-${name}`, textContent: TASKS[name] });
    tab.dataset.task = name;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", "question");
    tab.addEventListener("click", () => choose(name));
    find("tasks").append(tab);
  }
  find("tasks").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = [...find("tasks").children];
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  model.examples.forEach((url, index) => {
    const button = document.createElement("button"), picture = document.createElement("img");
    button.type = "button";
    button.setAttribute("aria-label", `Example ${index + 1}`);
    button.setAttribute("aria-pressed", false);
    Object.assign(picture, { src: url, alt: "" });
    button.append(picture);
    button.addEventListener("click", async () => {
      pressExample(button);
      await load(await (await fetch(url)).blob(), `example ${index + 1}`);
    });
    find("examples").append(button);
  });
  if (model.tasks.length) choose(model.tasks.includes("narrate") ? "narrate" : find("tasks").firstChild.dataset.task);
  document.body.dataset.ready = "true";
}

addEventListener("resize", () => { layOut(); redraw(); });
start();
