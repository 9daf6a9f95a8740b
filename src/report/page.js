// A text and its marks on the picture share a data-key; what is pointed at or focused lights up.
"use strict";

// How near the pointer must be to a box, and to a centre outside every box, in picture units.
const BOX_MARGIN = 12;
const CENTER_MARGIN = 60;
// Time on a word when the words are followed, in milliseconds.
const PACE = 320;

for (const item of document.querySelectorAll(".item")) {
  const keyed = [...item.querySelectorAll("[data-key]")];
  const texts = keyed.filter((element) => element.hasAttribute("tabindex"));
  const picture = item.querySelector("svg");
  const note = item.querySelector(".note");
  const atRest = note.textContent;

  const light = (key) => {
    item.classList.toggle("active", key !== undefined);
    for (const element of keyed) element.classList.toggle("on", element.dataset.key === key);
    note.textContent = texts.find((text) => text.dataset.key === key)?.dataset.note ?? atRest;
  };
  // Without a pointer, the focused text stays lit.
  const rest = () => light(texts.find((text) => text === document.activeElement)?.dataset.key);

  texts.forEach((text, index) => {
    text.addEventListener("pointerenter", () => { stop(); light(text.dataset.key); });
    text.addEventListener("pointerleave", rest);
    text.addEventListener("focus", () => { stop(); light(text.dataset.key); });
    text.addEventListener("blur", rest);
    text.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        texts[index + step]?.focus();
      } else if (event.key === "Escape") {
        text.blur();
      }
    });
  });

  // Of the boxes around the pointer the one whose centre is nearest; else the nearest centre.
  const keyAt = (event) => {
    const to = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(picture.getScreenCTM().inverse());
    const shown = picture.classList.contains("has-trace") ? "rect.box" : "rect.region";
    let best, least = Infinity;
    for (const rect of picture.querySelectorAll(shown)) {
      const { x, y, width, height } = rect.getBBox();
      const dx = Math.abs(to.x - x - width / 2), dy = Math.abs(to.y - y - height / 2);
      const inside = dx <= width / 2 + BOX_MARGIN && dy <= height / 2 + BOX_MARGIN;
      const distance = Math.hypot(dx, dy) + (inside ? 0 : 1e4);
      if (distance < least && (inside || Math.hypot(dx, dy) < CENTER_MARGIN)) {
        [best, least] = [rect.dataset.key, distance];
      }
    }
    return best;
  };
  for (const kind of ["pointermove", "pointerdown"]) {
    picture.addEventListener(kind, (event) => { stop(); light(keyAt(event)); });
  }
  picture.addEventListener("pointerleave", rest);

  // The button that goes through the words one after the other.
  const button = item.querySelector(".play");
  const words = texts.filter((text) => text.classList.contains("word"));
  let timer;
  function stop() {
    clearInterval(timer);
    timer = undefined;
  }
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      if (timer) { stop(); rest(); return; }
      let index = 0;
      const next = () => {
        if (index < words.length) light(words[index++].dataset.key);
        else { stop(); rest(); }
      };
      timer = setInterval(next, PACE);
      next();
    });
  }
}
