// What the user has asked for: one plain object, its history, and its place in this browser's storage.

export const FRESH = Object.freeze({
  n: 8, // colours of the palette
  swaps: {}, // "#rrggbb" of the palette -> "#rrggbb"
  locked: [], // colours of the palette that palettes from elsewhere do not change
  pins: [], // {x, y, color}, in pixels of the whole photo
  things: [], // {color, area}: an area is runs of 0 and 1 in base 36, with its width and height
  way: "change", // how colours of the palette change, as in dequant.edit.repainting
  luminance: "texture",
  keep_palette: "off",
  steps: null,
});

/** The edit, with undo and redo without end. `shown(edit, isFinal)` is called at each change. */
export class History {
  constructor(shown) {
    this.shown = shown;
    this.reset(FRESH);
  }

  reset(edit, past = [], future = []) {
    this.now = edit;
    [this.past, this.future] = [past, future];
  }

  /** Changes something. What is not final, such as a colour that is being dragged, makes no step of its own. */
  change(part, isFinal = true) {
    this.base ??= this.now;
    this.now = { ...this.now, ...part };
    if (isFinal) {
      if (JSON.stringify(this.base) !== JSON.stringify(this.now)) {
        this.past.push(this.base);
        this.future = [];
      }
      this.base = undefined;
    }
    this.shown(this.now, isFinal);
  }

  undo() {
    this._go(this.past, this.future);
  }

  redo() {
    this._go(this.future, this.past);
  }

  _go(from, to) {
    if (!from.length) return;
    to.push(this.base ?? this.now);
    this.base = undefined;
    this.now = from.pop();
    this.shown(this.now, true);
  }
}

/** Whether an edit asks for anything. */
export const asksFor = (edit) => Object.keys(edit.swaps).length + edit.pins.length + edit.things.length > 0;

/** The body of a request that repaints a photo; `scale` is that of its pixels to the whole photo's. */
export async function asBody(edit, seed, scale = 1) {
  const regions = [];
  for (const one of edit.things) regions.push({ color: one.color, area: await areaPng(one.area) });
  return {
    n_colors: edit.n,
    way: edit.way,
    swaps: Object.entries(edit.swaps).map(([from, to]) => ({ from, to })),
    pins: edit.pins.map((pin) => ({ at: [Math.floor(pin.x * scale), Math.floor(pin.y * scale)], color: pin.color })),
    ...(regions.length ? { regions } : {}),
    settings: {
      seed,
      luminance: edit.luminance,
      keep_palette: edit.keep_palette,
      ...(edit.steps ? { num_inference_steps: edit.steps } : {}),
    },
  };
}

/** A mask of 0 and 1 as text: the lengths of its runs, the first one of 0. */
export function pack(mask, width, height) {
  const runs = [];
  let [value, length] = [0, 0];
  for (const one of mask) {
    if (one === value) length++;
    else {
      runs.push(length.toString(36));
      [value, length] = [one, 1];
    }
  }
  runs.push(length.toString(36));
  return { width, height, runs: runs.join(" ") };
}

export function unpack({ width, height, runs }) {
  const mask = new Uint8Array(width * height);
  let at = 0;
  runs.split(" ").forEach((run, i) => {
    const length = parseInt(run, 36);
    if (i % 2) mask.fill(1, at, at + length);
    at += length;
  });
  return mask;
}

async function areaPng(area) {
  const mask = unpack(area);
  const canvas = new OffscreenCanvas(area.width, area.height);
  const image = new ImageData(area.width, area.height);
  new Uint32Array(image.data.buffer).forEach((_, i, all) => (all[i] = mask[i] ? 0xffffffff : 0xff000000));
  canvas.getContext("2d").putImageData(image, 0, 0);
  const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

const KEY = "dequant.studio";
const MOST = 200; // steps of history that survive a reload

/** Keeps the edit in local storage, and the photo's own file in a database of this browser. */
export const storage = {
  save(about) {
    try {
      localStorage.setItem(KEY, JSON.stringify({ ...about, past: about.past.slice(-MOST) }));
    } catch {
      localStorage.setItem(KEY, JSON.stringify({ ...about, past: [], future: [] })); // no room for the history
    }
  },
  load() {
    try {
      return JSON.parse(localStorage.getItem(KEY));
    } catch {
      return null;
    }
  },
  async keep(file) {
    await transaction("readwrite", (files) => files.put(file, "photo"));
  },
  kept: () => transaction("readonly", (files) => files.get("photo")).catch(() => undefined),
  async clear() {
    localStorage.removeItem(KEY);
    await transaction("readwrite", (files) => files.clear()).catch(() => undefined);
  },
};

function transaction(mode, work) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(KEY, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("files");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      const request = work(database.transaction("files", mode).objectStore("files"));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
      request.transaction.oncomplete = () => database.close();
    };
  });
}
