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
    this.picture = new ImageData(new Uint8ClampedArray(photo.data), photo.width, photo.height);
    this.done = palette.map(() => "");
    this.places = sorted(indices, palette.length);
    this.wanted = this.busy = null;
    this.worker.postMessage({ photo: photo.data, indices, width: photo.width, height: photo.height });
  }

  /** The photo with each pixel moved as its colour of the palette has moved. Only what differs from before is written. */
  atOnce(swaps) {
    const [from, to] = [this.photo.data, this.picture.data];
    this.palette.forEach((hex, i) => {
      const wanted = swaps[hex] ?? hex;
      if (this.done[i] === wanted) return;
      this.done[i] = wanted;
      const [r, g, b] = changeOf(hex, wanted);
      for (const at of this.places[i]) {
        to[at] = from[at] + r;
        to[at + 1] = from[at + 1] + g;
        to[at + 2] = from[at + 2] + b;
      }
    });
    return this.picture;
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
