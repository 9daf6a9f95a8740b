// How answers are drawn: colours of words, masks, and the picture that is saved.
"use strict";

// As in `report/palette.rs`: steps of equal hue in OKLCH, from blue by way of green and yellow to red.
const FIRST_HUE = 266.4, LAST_HUE = 7.2;
export const ANSWER = "#ff9f1c";
// How much of a pixel inside a mask is the colour of answers, of 255.
const TINT = 140;

export function wordColour(index, count) {
  const share = Math.min(index / Math.max(count - 1, 1), 1);
  return `oklch(0.74 0.17 ${FIRST_HUE + (LAST_HUE - FIRST_HUE) * share})`;
}

/** The corners of a box that has a place: numbers that are not finite come as null. */
export function corners(bounds) {
  const values = bounds ? [bounds.x0, bounds.y0, bounds.x1, bounds.y1] : [];
  return values.length && values.every(Number.isFinite) ? values : null;
}

export function center([x0, y0, x1, y1]) {
  return [(x0 + x1) / 2, (y0 + y1) / 2];
}

/** A mask as COCO writes it → its pixels, tinted where they are inside. */
export function maskPixels({ size: [height, width], counts }) {
  const image = new ImageData(width, height);
  // Numbers of 5 bits a character, the sixth says that more follow; from the third on, differences to
  // the one before the last.
  const runs = [];
  for (let at = 0; at < counts.length;) {
    let value = 0, shift = 0, code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value += (code & 31) * 2 ** shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value -= 2 ** shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  // Column by column, outside first.
  let place = 0;
  runs.forEach((run, index) => {
    for (const end = place + run; place < end; place++) {
      if (index % 2 === 0) continue;
      const pixel = 4 * ((place % height) * width + Math.floor(place / height));
      image.data.set([255, 159, 28, TINT], pixel);
    }
  });
  return image;
}

/** The picture of an answer: the image, what was found on it, the words below. */
export function drawn(image, asked, answer) {
  const long = Math.max(image.naturalWidth, image.naturalHeight);
  const scale = Math.min(Math.max(long, 768), 1600) / long;
  const width = Math.max(Math.round(image.naturalWidth * scale), 1);
  const height = Math.max(Math.round(image.naturalHeight * scale), 1);
  const page = Math.max(width, 360), size = Math.round(Math.max(page / 32, 14));
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const font = `${size}px system-ui, sans-serif`;
  context.font = font;
  const lines = wrapped(context, texts(answer), page - 2 * size);
  canvas.width = page;
  canvas.height = height + (lines.length ? Math.round(size * (1.5 * lines.length + 1)) : 0);
  context.fillStyle = "#16181d";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, width, height);
  drawMarks(context, width, height, asked, answer);
  context.font = font;
  context.textBaseline = "middle";
  lines.forEach((line, row) => {
    for (const { text, colour, x } of line) {
      context.fillStyle = colour;
      context.fillText(text, size + x, height + size * (1.25 + 1.5 * row));
    }
  });
  return canvas;
}

/** The words of an answer with their colours. */
function texts({ task, result }) {
  const plain = (text) => text.split(/\s+/).filter(Boolean).map((text) => ({ text, colour: "#f2f3f5" }));
  if (task === "narrate") {
    return result.words.map(({ text }, i) => ({ text, colour: wordColour(i, result.words.length) }));
  }
  if (task === "detect") {
    return result.flatMap(({ caption }, i) =>
      plain(caption).map((word) => ({ ...word, colour: wordColour(i, result.length) })));
  }
  return plain(task === "locate" ? result.expression : result.caption);
}

function wrapped(context, words, room) {
  const lines = [], space = context.measureText(" ").width;
  let x = Infinity;
  for (const word of words) {
    const width = context.measureText(word.text).width;
    if (x + width > room) {
      lines.push([]);
      x = 0;
    }
    lines[lines.length - 1].push({ ...word, x });
    x += width + space;
  }
  return lines;
}

function drawMarks(context, width, height, asked, { task, result }) {
  const line = 2 + width / 400;
  const stroke = (path, colour, thick = line) => {
    path();
    context.lineWidth = thick + 2;
    context.strokeStyle = "rgb(0 0 0 / .4)";
    context.stroke();
    context.lineWidth = thick;
    context.strokeStyle = colour;
    context.stroke();
  };
  const box = (bounds, colour) => {
    const found = corners(bounds);
    if (!found) return;
    const [x0, y0, x1, y1] = found;
    const rect = [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height];
    stroke(() => { context.beginPath(); context.rect(...rect); }, colour);
  };
  const dot = ([x, y], colour) => {
    context.beginPath();
    context.arc(x * width, y * height, line * 2.2, 0, 7);
    context.fillStyle = colour;
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = "rgb(0 0 0 / .6)";
    context.stroke();
  };
  context.save();
  context.beginPath();
  context.rect(0, 0, width, height);
  context.clip();
  if (task === "narrate") {
    const count = result.words.length;
    result.words.forEach(({ bounds }, i) => box(bounds, wordColour(i, count)));
    let last;
    result.words.forEach(({ bounds }, i) => {
      const found = corners(bounds);
      if (!found) return;
      const [x, y] = center(found);
      if (last) {
        const path = () => {
          context.beginPath();
          context.moveTo(last[0] * width, last[1] * height);
          context.lineTo(x * width, y * height);
        };
        stroke(path, wordColour(i - 0.5, count));
      }
      last = [x, y];
    });
    result.words.forEach(({ bounds }, i) => {
      const found = corners(bounds);
      if (found) dot(center(found), wordColour(i, count));
    });
  } else if (task === "detect") {
    result.forEach(({ bounds }, i) => box(bounds, wordColour(i, result.length)));
  } else if (task === "locate") {
    if (result.mask) {
      const pixels = maskPixels(result.mask.segmentation);
      const layer = Object.assign(document.createElement("canvas"), { width: pixels.width, height: pixels.height });
      layer.getContext("2d").putImageData(pixels, 0, 0);
      context.drawImage(layer, 0, 0, width, height);
    }
    box(result.bounds, ANSWER);
  } else if (asked.trace) {
    const path = () => {
      context.beginPath();
      asked.trace.forEach(([x, y]) => context.lineTo(x * width, y * height));
    };
    stroke(path, ANSWER);
  } else if (asked.points) {
    asked.points.forEach((point) => dot(point, "#2f9e63"));
    (asked.not ?? []).forEach((point) => dot(point, "#d9402f"));
  } else {
    box(result.region, ANSWER);
  }
  context.restore();
}
