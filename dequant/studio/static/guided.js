// A worker that shows at once, roughly, what the network will: the photo plus the change of its colours, smoothed along
// the photo's edges by the fast guided filter (He and Sun, 2015) with the luminance as its guide.

const STEP = 4; // the filter is computed on a picture smaller by this factor
const RADIUS = 5; // in pixels of that one
const EPS = 0.02 ** 2;

let photo; // RGBA of the view
let indices; // of its palette
let width, height, w, h;
let luma; // of the view
let small, mean, variance; // of luma, made smaller

/** Means over squares of 2 RADIUS + 1 pixels, smaller at the borders. */
function box(source) {
  const rows = new Float32Array(w * h);
  const result = new Float32Array(w * h);
  for (let y = 0; y < h; y++) {
    let sum = 0;
    const at = y * w;
    for (let x = 0; x < Math.min(RADIUS, w); x++) sum += source[at + x];
    for (let x = 0; x < w; x++) {
      if (x + RADIUS < w) sum += source[at + x + RADIUS];
      if (x - RADIUS > 0) sum -= source[at + x - RADIUS - 1];
      rows[at + x] = sum / (Math.min(w - 1, x + RADIUS) - Math.max(0, x - RADIUS) + 1);
    }
  }
  const sums = new Float32Array(w);
  for (let y = 0; y < Math.min(RADIUS, h); y++) for (let x = 0; x < w; x++) sums[x] += rows[y * w + x];
  for (let y = 0; y < h; y++) {
    const more = y + RADIUS < h ? (y + RADIUS) * w : -1;
    const less = y - RADIUS > 0 ? (y - RADIUS - 1) * w : -1;
    const count = Math.min(h - 1, y + RADIUS) - Math.max(0, y - RADIUS) + 1;
    for (let x = 0; x < w; x++) {
      if (more >= 0) sums[x] += rows[more + x];
      if (less >= 0) sums[x] -= rows[less + x];
      result[y * w + x] = sums[x] / count;
    }
  }
  return result;
}

/** Means over squares of STEP pixels of a plane; or, with numbers of colours for pixels, of what the plane has for them. */
function shrink(plane, numbers) {
  const sums = new Float32Array(w * h);
  for (let y = 0; y < height; y++) {
    const row = ((y / STEP) | 0) * w;
    for (let column = 0; column < w; column++) {
      const end = y * width + Math.min(width, (column + 1) * STEP);
      let sum = 0;
      if (numbers) for (let i = y * width + column * STEP; i < end; i++) sum += plane[numbers[i]];
      else for (let i = y * width + column * STEP; i < end; i++) sum += plane[i];
      sums[row + column] += sum;
    }
  }
  for (let y = 0, i = 0; y < h; y++) {
    const rows = Math.min(STEP, height - y * STEP);
    for (let x = 0; x < w; x++, i++) sums[i] /= rows * Math.min(STEP, width - x * STEP);
  }
  return sums;
}

function multiplied(a, b) {
  const result = new Float32Array(a.length);
  for (let i = 0; i < a.length; i++) result[i] = a[i] * b[i];
  return result;
}

function begin(message) {
  ({ photo, indices, width, height } = message);
  [w, h] = [Math.ceil(width / STEP), Math.ceil(height / STEP)];
  luma = new Float32Array(width * height);
  for (let i = 0; i < luma.length; i++) {
    luma[i] = (0.299 * photo[4 * i] + 0.587 * photo[4 * i + 1] + 0.114 * photo[4 * i + 2]) / 255;
  }
  small = shrink(luma);
  mean = box(small);
  variance = box(multiplied(small, small));
  for (let i = 0; i < variance.length; i++) variance[i] -= mean[i] ** 2;
}

/** The photo with the change of each colour of the palette, in bytes (K, 3), and things of it in other colours. */
function paint(changes, things) {
  const result = new Uint8ClampedArray(photo);
  for (let channel = 0; channel < 3; channel++) {
    const change = Float32Array.from({ length: 256 }, (_, i) => changes[i]?.[channel] ?? 0);
    if (!change.some((one) => one !== 0)) continue;
    const wanted = shrink(change, indices);
    const wantedMean = box(wanted);
    const a = box(multiplied(small, wanted));
    const b = new Float32Array(a.length);
    for (let i = 0; i < a.length; i++) {
      a[i] = (a[i] - mean[i] * wantedMean[i]) / (variance[i] + EPS);
      b[i] = wantedMean[i] - a[i] * mean[i];
    }
    enlarge(result, channel, box(a), box(b));
  }
  things.forEach((one) => recolor(result, one));
  return result;
}

/** Moves the pixels of a thing so that their mean is the colour asked for. */
function recolor(result, { mask, columns, rows, color }) {
  const places = [];
  const mean = [0, 0, 0];
  for (let y = 0, i = 0; y < height; y++) {
    const row = Math.min(rows - 1, ((y + 0.5) * rows) / height | 0) * columns;
    for (let x = 0; x < width; x++, i += 4) {
      if (!mask[row + Math.min(columns - 1, ((x + 0.5) * columns) / width | 0)]) continue;
      places.push(i);
      for (let channel = 0; channel < 3; channel++) mean[channel] += result[i + channel];
    }
  }
  const change = mean.map((sum, channel) => color[channel] - sum / places.length);
  for (const i of places) for (let channel = 0; channel < 3; channel++) result[i + channel] += change[channel];
}

/** Adds a * luma + b to a channel, with a and b bilinear between the pixels of the small picture. */
function enlarge(result, channel, a, b) {
  const [rowA, rowB] = [new Float32Array(w + 1), new Float32Array(w + 1)];
  for (let y = 0; y < height; y++) {
    const place = Math.min(h - 1, Math.max(0, (y + 0.5) / STEP - 0.5));
    const top = place | 0;
    const [one, other, down] = [top * w, Math.min(h - 1, top + 1) * w, place - top];
    let most = 0;
    for (let x = 0; x < w; x++) {
      rowA[x] = a[one + x] + down * (a[other + x] - a[one + x]);
      rowB[x] = b[one + x] + down * (b[other + x] - b[one + x]);
      most = Math.max(most, Math.abs(rowA[x]), Math.abs(rowB[x]));
    }
    if (most < 0.2) continue; // nothing that a byte would show
    [rowA[w], rowB[w]] = [rowA[w - 1], rowB[w - 1]];
    for (let cell = -1, x = 0; x < width; cell++) {
      const left = cell < 0 ? 0 : cell;
      const slopeA = (rowA[cell + 1] - rowA[left]) / STEP;
      const slopeB = (rowB[cell + 1] - rowB[left]) / STEP;
      const end = Math.min(width, STEP * cell + STEP + STEP / 2);
      const first = x - STEP * cell - STEP / 2 + 0.5; // pixels from the middle of the cell
      let nowA = rowA[left] + first * slopeA;
      let nowB = rowB[left] + first * slopeB;
      for (let i = y * width + x, to = 4 * i + channel; x < end; x++, i++, to += 4) {
        result[to] = result[to] + nowA * luma[i] + nowB;
        nowA += slopeA;
        nowB += slopeB;
      }
    }
  }
}

onmessage = ({ data }) => {
  if (data.indices) begin(data);
  else {
    const start = performance.now();
    const pixels = paint(data.changes, data.things);
    postMessage({ key: data.key, pixels, width, height, milliseconds: performance.now() - start }, [pixels.buffer]);
  }
};
