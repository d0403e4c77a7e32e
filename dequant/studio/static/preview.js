// What an edit will look like, before the network has drawn it: at once, and along the photo's edges just after.

import { toBytes } from "./color.js";

/** Repaints the view from its map of indices. */
export class Preview {
  constructor(shown) {
    this.shown = shown; // called with the guided picture
    this.worker = new Worker(new URL("guided.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this._guided(data);
  }

  /** Begins with a photo: ImageData of its view, a map of indices of it, and their palette. */
  open(photo, indices, palette) {
    [this.photo, this.indices, this.palette] = [photo, indices, palette];
    this.sizes = new Map([[1, new Moving(photo, indices, palette)]]);
    this.wanted = this.busy = null;
    this.worker.postMessage({ photo: photo.data, indices, width: photo.width, height: photo.height });
  }

  /** The photo with each pixel moved as its colour of the palette has moved; of a share of its size. */
  atOnce(swaps, share = 1) {
    if (!this.sizes.has(share)) {
      const whole = this.sizes.get(1);
      this.sizes = new Map([[1, whole], [share, new Moving(...reduced(this.photo, this.indices, share), this.palette)]]);
    }
    return this.sizes.get(share).moved(swaps);
  }

  /** Asks for the guided picture; of several that are asked for while one is made, the last is made next. */
  guide(swaps, things, key) {
    this.wanted = { key, changes: this.palette.map((hex) => changeOf(hex, swaps[hex] ?? hex)), things };
    if (!this.busy) this._next();
  }

  _next() {
    this.busy = this.wanted;
    this.wanted = null;
    if (this.busy) this.worker.postMessage(this.busy);
  }

  _guided({ key, pixels, width, height, milliseconds }) {
    performance.measure("guided", { start: performance.now() - milliseconds, duration: milliseconds });
    const isLast = !this.wanted;
    this._next();
    if (isLast && width === this.photo.width && height === this.photo.height) this.shown(key, new ImageData(pixels, width, height));
  }
}

/** A photo whose colours move with those of a palette. Only what differs from before is written. */
class Moving {
  constructor(photo, indices, palette) {
    [this.photo, this.palette] = [photo, palette];
    this.picture = new ImageData(new Uint8ClampedArray(photo.data), photo.width, photo.height);
    this.done = [...palette];
    this.places = sorted(indices, palette.length);
  }

  moved(swaps) {
    const [from, to] = [this.photo.data, this.picture.data];
    this.palette.forEach((hex, i) => {
      const wanted = swaps[hex] ?? hex;
      if (this.done[i] === wanted) return;
      this.done[i] = wanted;
      const [r, g, b] = changeOf(hex, wanted);
      const places = this.places[i];
      for (let k = 0; k < places.length; k++) {
        const at = places[k];
        to[at] = from[at] + r;
        to[at + 1] = from[at + 1] + g;
        to[at + 2] = from[at + 2] + b;
      }
    });
    return this.picture;
  }
}

/** A photo and its indices with a share of the pixels along each side. */
function reduced(photo, indices, share) {
  const [width, height] = [Math.max(1, Math.round(photo.width * share)), Math.max(1, Math.round(photo.height * share))];
  const whole = new OffscreenCanvas(photo.width, photo.height);
  whole.getContext("2d").putImageData(photo, 0, 0);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, 0, 0, width, height);
  const found = new Uint8Array(width * height);
  for (let y = 0, i = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * photo.height) / height) * photo.width;
    for (let x = 0; x < width; x++, i++) found[i] = indices[row + Math.floor(((x + 0.5) * photo.width) / width)];
  }
  return [context.getImageData(0, 0, width, height), found];
}

function changeOf(before, after) {
  const [from, to] = [toBytes(before), toBytes(after)];
  return to.map((value, i) => value - from[i]);
}

/** For each colour the places of its pixels in RGBA data. */
function sorted(indices, count) {
  const sizes = new Uint32Array(256);
  for (const one of indices) sizes[one]++;
  const places = Array.from({ length: count }, (_, i) => new Uint32Array(sizes[i]));
  const filled = new Uint32Array(256);
  for (let i = 0; i < indices.length; i++) places[indices[i]][filled[indices[i]]++] = 4 * i;
  return places;
}

/** A small picture of the view in a palette, for a list of choices. */
export function thumbnail({ photo, indices }, colors, side = 132) {
  const scale = Math.min(1, side / Math.max(photo.width, photo.height));
  const [width, height] = [Math.max(1, Math.round(photo.width * scale)), Math.max(1, Math.round(photo.height * scale))];
  const image = new ImageData(width, height);
  const shades = colors.map(toBytes);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = Math.floor((y + 0.5) / scale) * photo.width + Math.floor((x + 0.5) / scale);
      image.data.set([...(shades[indices[Math.min(from, indices.length - 1)]] ?? [0, 0, 0]), 255], 4 * (y * width + x));
    }
  }
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
