// The regions of a photo, each inside of a larger one, and masks made of them.

const DIFFERENT = 1.12; // times the area that looks different

/** A tree of regions: pieces first, then what each merge makes. */
export class Regions {
  constructor({ width, height, pieces, merges }) {
    const bytes = Uint8Array.from(atob(pieces), (c) => c.charCodeAt(0));
    [this.width, this.height] = [width, height];
    this.pieces = new Uint16Array(bytes.buffer);
    this.count = merges.length + 1;
    this.parents = new Int32Array(2 * this.count - 1).map((_, i) => i);
    this.areas = new Float64Array(2 * this.count - 1);
    for (const piece of this.pieces) this.areas[piece]++;
    merges.forEach(([one, other], i) => {
      this.parents[one] = this.parents[other] = this.count + i;
      this.areas[this.count + i] = this.areas[one] + this.areas[other];
    });
  }

  /** The regions that hold a pixel, from the piece to the whole. */
  around(x, y) {
    const found = [this.pieces[y * this.width + x]];
    while (this.parents[found.at(-1)] !== found.at(-1)) found.push(this.parents[found.at(-1)]);
    return found;
  }

  /** Which of these a click means: the one that grows most when it is merged, as a thing does with its ground. */
  usual(chain) {
    const total = this.width * this.height;
    let [best, most] = [0, 0];
    chain.slice(0, -1).forEach((region, i) => {
      const share = this.areas[region] / total;
      if (share < 0.002 || share > 0.6) return;
      const growth = this.areas[chain[i + 1]] / this.areas[region] + (share > 0.01 ? 0.5 : 0);
      if (growth > most) [best, most] = [i, growth];
    });
    return best;
  }

  /** The sizes of a thing that look different, from small to large, and which of them a click means. */
  sizes(chain) {
    const usual = this.usual(chain);
    const area = (i) => this.areas[chain[i]];
    const found = [usual];
    for (let i = usual - 1; i >= 0; i--) if (area(i) < area(found[0]) / DIFFERENT) found.unshift(i);
    const at = found.length - 1;
    for (let i = usual + 1; i < chain.length; i++) if (area(i) > area(found.at(-1)) * DIFFERENT) found.push(i);
    return { regions: found.map((i) => chain[i]), at };
  }

  /** The pixels of a region, 1 inside. */
  mask(region) {
    const inside = new Uint8Array(2 * this.count - 1);
    inside[region] = 1;
    for (let i = region - 1; i >= 0; i--) if (this.parents[i] !== i && inside[this.parents[i]]) inside[i] = 1;
    return Uint8Array.from(this.pieces, (piece) => inside[piece]);
  }
}

/** Paints a mask: a tint inside, a line around. */
export function drawMask(context, mask, width, height, [r, g, b], strength = 90) {
  const image = new ImageData(width, height);
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : mask[y * width + x]);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!mask[y * width + x]) continue;
      const isBorder = !(at(x - 1, y) && at(x + 1, y) && at(x, y - 1) && at(x, y + 1));
      image.data.set(isBorder ? [255, 255, 255, 255] : [r, g, b, strength], 4 * (y * width + x));
    }
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(canvas, 0, 0, context.canvas.width, context.canvas.height);
}

/** A mask with one more pixel all around, as the mixed pixels of a thing's border belong to it, too. */
export function widened(mask, width, height) {
  const result = Uint8Array.from(mask);
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const x = i % width;
    if (x) result[i - 1] = 1;
    if (x < width - 1) result[i + 1] = 1;
    if (i >= width) result[i - width] = 1;
    if (i < mask.length - width) result[i + width] = 1;
  }
  return result;
}

/** A mask of a white and black picture of any size. */
export function maskOf(picture, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(picture, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, i) => (data[4 * i] > 127 ? 1 : 0));
}

/** Sets a disc of a mask. */
export function disc(mask, width, height, x, y, radius, value) {
  for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(height - 1, y + radius); row++) {
    for (let column = Math.max(0, Math.floor(x - radius)); column <= Math.min(width - 1, x + radius); column++) {
      if ((row - y) ** 2 + (column - x) ** 2 <= radius ** 2) mask[row * width + column] = value;
    }
  }
}

/** Sets what a closed line of (x, y) points encloses. */
export function polygon(mask, width, height, points, value) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.beginPath();
  points.forEach(([x, y]) => context.lineTo(x, y));
  context.closePath();
  context.fill();
  const { data } = context.getImageData(0, 0, width, height);
  for (let i = 0; i < mask.length; i++) if (data[4 * i + 3] > 127) mask[i] = value;
}
