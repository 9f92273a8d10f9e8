/** The viewer of a result: two pictures under one divide, zoomed and moved as one. */

import { byId, show, write } from "./page.js";

const amplification = 4;
const largestScale = 40;
const keyStep = 48;

const stage = byId("stage-area");
const handle = byId("handle");
const divide = byId("divide");
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

async function load(address, alt) {
  const image = Object.assign(new Image(), { src: address, alt });
  await image.decode();
  return image;
}

function pixels(image, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** after - before, amplified, around mid grey. */
function residual(before, after, [width, height]) {
  const earlier = pixels(before, width, height).data;
  const result = pixels(after, width, height);
  const later = result.data;
  for (let index = 0; index < later.length; index += 1) {
    later[index] = index % 4 === 3 ? 255 : 128 + amplification * (later[index] - earlier[index]);
  }
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").putImageData(result, 0, 0);
  return canvas;
}

export class Compare {
  #pictures = { size: [1, 1] };
  #scale = 1;
  #left = 0;
  #top = 0;
  #isFitted = true;
  #pointers = new Map();

  constructor() {
    const actions = {
      "zoom-fit": () => this.#fit(),
      "zoom-full": () => this.#zoom(1 / devicePixelRatio / this.#scale),
      "zoom-in": () => this.#zoom(1.5),
      "zoom-out": () => this.#zoom(1 / 1.5),
    };
    for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
    for (const choice of document.getElementsByName("shown")) choice.addEventListener("change", () => this.#choose());
    divide.addEventListener("input", () => this.#drawDivide());
    this.#listenToKeys();
    this.#listenToPointers();
    this.#listenToHandle();
    new ResizeObserver(() => (this.#isFitted ? this.#fit() : this.#draw())).observe(stage);
  }

  /** pictures: size [width, height], addresses before, after and spread (or null), gain of the spread, name of before. */
  async show(pictures) {
    this.clear();
    this.#pictures = pictures;
    stage.style.aspectRatio = pictures.size.join(" / ");
    divide.value = 50;
    document.getElementsByName("shown")[0].checked = true;
    document.querySelector("[name=shown][value=spread]").disabled = !pictures.spread;
    write("tag-before", pictures.beforeName);
    this.#drawDivide();
    this.#fit();
    this.#choose();
    await Promise.all([this.#fill("before", pictures.beforeName), this.#fill("after", "restored")]);
    // Someone may have asked for the residual before there was one.
    if (this.#pictures === pictures) this.#choose();
  }

  clear() {
    this.#pictures = { size: [1, 1] };
    for (const picture of stage.querySelectorAll("img, canvas")) picture.remove();
  }

  async #fill(name, alt) {
    const pictures = this.#pictures;
    write("waiting", "loading");
    try {
      const image = await load(pictures[name], alt);
      if (this.#pictures !== pictures) return;
      this.#place(name, image);
      write("waiting", "");
    } catch {
      if (this.#pictures === pictures) write("waiting", "It could not be loaded; a reload of the page tries again.");
    }
  }

  #picture(name) {
    return byId(`layer-${name}`).querySelector("img, canvas");
  }

  #place(name, picture) {
    const [width, height] = this.#pictures.size;
    this.#picture(name)?.remove();
    Object.assign(picture.style, { width: `${width}px`, height: `${height}px` });
    byId(`layer-${name}`).prepend(picture);
    this.#draw();
  }

  #choose() {
    const { beforeName, gain, size } = this.#pictures;
    const shown = document.querySelector("[name=shown]:checked").value;
    const isCompare = shown === "compare";
    for (const name of ["before", "after"]) show(`layer-${name}`, isCompare);
    for (const name of ["residual", "spread"]) show(`layer-${name}`, shown === name);
    show("handle", isCompare);
    byId("divide-row").classList.toggle("off", !isCompare);
    write("legend", {
      compare: `Left of the divide: ${beforeName}. Right of it: the restored picture.`,
      residual: `The residual: restored minus ${beforeName}, ${amplification} times amplified around mid grey. Plain grey is where both are the same.`,
      spread: `The uncertainty: how far the eight results of flips and rotations lie apart before they are joined, ${gain} times amplified. Dark is where they agree.`,
    }[shown]);
    if (isCompare || this.#picture(shown)) return;
    if (shown === "spread") this.#fill("spread", "uncertainty");
    else if (this.#picture("before") && this.#picture("after")) {
      this.#place("residual", residual(this.#picture("before"), this.#picture("after"), size));
    }
  }

  #fitScale() {
    const [width, height] = this.#pictures.size;
    return Math.min(stage.clientWidth / width, stage.clientHeight / height) || 1;
  }

  #fit() {
    this.#isFitted = true;
    this.#scale = this.#fitScale();
    this.#draw();
  }

  /** Zooms around a point of the stage, by default its middle. */
  #zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const before = this.#scale;
    this.#scale = clamp(before * factor, Math.min(this.#fitScale(), 1 / devicePixelRatio), largestScale);
    this.#isFitted = false;
    this.#move((x - this.#left) * (1 - this.#scale / before), (y - this.#top) * (1 - this.#scale / before));
  }

  #move(right, down) {
    this.#left += right;
    this.#top += down;
    this.#draw();
  }

  #draw() {
    const place = (start, room, length) => (length <= room ? (room - length) / 2 : clamp(start, room - length, 0));
    const [width, height] = this.#pictures.size.map((length) => length * this.#scale);
    const screenPixels = this.#scale * devicePixelRatio;
    this.#left = place(this.#left, stage.clientWidth, width);
    this.#top = place(this.#top, stage.clientHeight, height);
    for (const picture of stage.querySelectorAll("img, canvas")) {
      picture.style.transform = `translate(${this.#left}px, ${this.#top}px) scale(${this.#scale})`;
    }
    stage.classList.toggle("pixels", screenPixels > 3);
    stage.classList.toggle("at-fit", width < stage.clientWidth + 1 && height < stage.clientHeight + 1);
    write("zoom-level", `${Math.round(100 * screenPixels)} %`);
  }

  #drawDivide() {
    const share = Number(divide.value);
    byId("layer-after").style.clipPath = `inset(0 0 0 ${share}%)`;
    handle.style.left = `${share}%`;
    divide.setAttribute("aria-valuetext", `${Math.round(share)} per cent from the left`);
  }

  #listenToKeys() {
    const actions = {
      ArrowLeft: () => this.#move(keyStep, 0),
      ArrowRight: () => this.#move(-keyStep, 0),
      ArrowUp: () => this.#move(0, keyStep),
      ArrowDown: () => this.#move(0, -keyStep),
      "+": () => this.#zoom(1.25),
      "=": () => this.#zoom(1.25),
      "-": () => this.#zoom(0.8),
      0: () => this.#fit(),
    };
    stage.addEventListener("keydown", (event) => {
      const action = actions[event.key];
      if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      action();
    });
  }

  #listenToPointers() {
    const pointOf = (event) => {
      const box = stage.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    const middle = () => {
      const [one, other = one] = this.#pointers.values();
      return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, distance: Math.hypot(one.x - other.x, one.y - other.y) || 1 };
    };
    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      stage.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, pointOf(event));
    });
    stage.addEventListener("pointermove", (event) => {
      if (!this.#pointers.has(event.pointerId)) return;
      const before = middle();
      this.#pointers.set(event.pointerId, pointOf(event));
      const now = middle();
      if (now.distance !== before.distance) this.#zoom(now.distance / before.distance, before.x, before.y);
      this.#move(now.x - before.x, now.y - before.y);
    });
    for (const ending of ["pointerup", "pointercancel"]) {
      stage.addEventListener(ending, (event) => this.#pointers.delete(event.pointerId));
    }
    const wheel = (event) => {
      // At the smallest the page scrolls on, so that nobody is caught in the picture.
      if (event.deltaY > 0 && this.#isFitted && !event.ctrlKey) return;
      event.preventDefault();
      const { x, y } = pointOf(event);
      const lines = event.deltaMode === 1 ? 20 : 1;
      this.#zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), x, y);
      if (event.deltaY > 0 && this.#scale <= this.#fitScale()) this.#fit();
    };
    stage.addEventListener("wheel", wheel, { passive: false });
  }

  #listenToHandle() {
    handle.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      handle.setPointerCapture(event.pointerId);
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const box = stage.getBoundingClientRect();
      divide.value = (100 * (event.clientX - box.left)) / box.width;
      this.#drawDivide();
    });
  }
}
