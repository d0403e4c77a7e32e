// The palette: swatches, their editor, colours from elsewhere, and pins.

import { getJson, bitmap, postBytes, postJson } from "./api.js";
import { describe, fromOklch, inkOn, parse, toBytes, toHex, toOklch } from "./color.js";
import { $, make, roving, say, trying } from "./dom.js";
import { thumbnail } from "./preview.js";

const IMAGES = /\.(jpe?g|png|webp|gif|tiff?|heic|avif|bmp)$/i;

/** The panel of a studio, which holds the photo, the edit and the stage. */
export class PalettePanel {
  constructor(studio) {
    this.studio = studio;
    this.chosen = null; // a colour of the palette
    this.lit = true;
    this.sort = "area";
    this._listen();
  }

  get edit() {
    return this.studio.history.now;
  }

  /** Begins with another palette. */
  open() {
    const colors = this.studio.palette.map((one) => one.color);
    if (!colors.includes(this.chosen)) this.choose(null);
    $("#choices").replaceChildren();
    this.show();
  }

  choose(color, light = this.lit) {
    this.chosen = color;
    $("#editor").hidden = color === null;
    this.studio.highlight(color !== null && light ? this.studio.palette.findIndex((one) => one.color === color) : -1);
    this.show();
  }

  /** Gives the chosen colour another one. */
  give(hex, isFinal = true) {
    if (this.chosen === null) return say("Choose a colour of the palette first.", "error");
    if (hex !== this.chosen && this.edit.locked.includes(this.chosen)) return say("This colour is locked: unlock it first.", "error");
    const swaps = { ...this.edit.swaps };
    if (hex === this.chosen) delete swaps[this.chosen];
    else swaps[this.chosen] = hex;
    this.studio.highlight(-1);
    this.studio.history.change({ swaps }, isFinal);
  }

  /** Several at once, as from another palette; locked ones stay. */
  giveAll(colors) {
    const swaps = { ...this.edit.swaps };
    this.studio.palette.forEach(({ color }, i) => {
      if (this.edit.locked.includes(color)) return;
      if (colors[i] === color) delete swaps[color];
      else swaps[color] = colors[i];
    });
    this.studio.highlight(-1);
    this.studio.history.change({ swaps });
  }

  show() {
    const { palette } = this.studio;
    const order = [...palette].sort((a, b) =>
      this.sort === "area" ? b.share - a.share : hueOrder(a.color) - hueOrder(b.color),
    );
    const most = Math.max(...palette.map((one) => one.share), 1e-6);
    const group = $("#swatches");
    group.toggleAttribute("data-many", palette.length > 24);
    const had = group.contains(document.activeElement);
    const current = order.some((one) => one.color === this.chosen) ? this.chosen : order[0]?.color;
    group.replaceChildren(...order.map((one) => this._swatch(one, most, one.color === current)));
    if (had) $("[tabindex='0']", group)?.focus();
    if (this.chosen !== null) this._showEditor();
    this._showPins();
  }

  _swatch({ color, share }, most, isCurrent) {
    const now = this.edit.swaps[color] ?? color;
    const locked = this.edit.locked.includes(color);
    const percent = `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}% of the photo`;
    const label = `${describe(color)} ${color}${now === color ? "" : `, becomes ${describe(now)} ${now}`}, ${percent}${locked ? ", locked" : ""}`;
    return make(
      "button",
      {
        type: "button",
        className: "swatch",
        role: "radio",
        title: label,
        "aria-label": label,
        "aria-checked": String(color === this.chosen),
        "data-color": color,
        tabIndex: isCurrent ? 0 : -1,
        style: { "--old": color, "--new": now, "--share": `${(100 * share) / most}%`, "--mark": inkOn(now) },
        on: { click: () => this.choose(color) },
      },
      make("span", { className: "share" }),
      ...(locked ? [make("span", { className: "locked" }, "🔒︎")] : []),
    );
  }

  /** The chosen colour alone, while it is dragged. */
  showChosen() {
    const now = this.edit.swaps[this.chosen] ?? this.chosen;
    $(`.swatch[data-color="${this.chosen}"]`)?.style.setProperty("--new", now);
    this._showEditor();
  }

  _showEditor() {
    const now = this.edit.swaps[this.chosen] ?? this.chosen;
    $("#chip-old").style.background = this.chosen;
    $("#chip-new").style.background = now;
    if (document.activeElement !== $("#hex")) $("#hex").value = now;
    $("#picker").value = now;
    $("#lock").setAttribute("aria-pressed", String(this.edit.locked.includes(this.chosen)));
    if (!this.sliding) this._setSliders(toOklch(now));
  }

  _setSliders([l, c, h]) {
    [$("#lch-l").value, $("#lch-c").value, $("#lch-h").value] = [l, c, h];
    const track = (at) => `linear-gradient(to right, ${[0, 1, 2, 3, 4, 5, 6].map((i) => fromOklch(at(i / 6))).join(",")})`;
    $("#lch-l").style.setProperty("--track", track((t) => [t, c, h]));
    $("#lch-c").style.setProperty("--track", track((t) => [l, 0.33 * t, h]));
    $("#lch-h").style.setProperty("--track", track((t) => [l, Math.max(c, 0.08), 360 * t]));
  }

  _showPins() {
    this.studio.stage.pins(this.edit.pins);
    const set = (i, pin) => this.studio.history.change({ pins: this.edit.pins.map((one, j) => (j === i ? pin : one)) });
    $("#pin-list").replaceChildren(
      ...this.edit.pins.map((pin, i) =>
        make(
          "li",
          {},
          make("input", { type: "color", value: pin.color, "aria-label": `Colour of pin ${i + 1}`, on: { change: (e) => set(i, { ...pin, color: e.target.value }) } }),
          make("span", {}, `pin ${i + 1} at ${pin.x}, ${pin.y}`),
          make("button", { type: "button", on: { click: () => this.studio.history.change({ pins: this.edit.pins.filter((_, j) => j !== i) }) } }, "Remove"),
        ),
      ),
    );
  }

  _listen() {
    roving($("#swatches"), ".swatch");
    roving($("#choices"), "button");
    $("#sort").addEventListener("change", (event) => {
      this.sort = event.target.value;
      this.show();
    });
    const n = $("#n");
    n.addEventListener("input", () => ($("#n-shown").textContent = n.value));
    n.addEventListener("change", () => {
      const hadChanges = Object.keys(this.edit.swaps).length > 0;
      this.studio.history.change({ n: Number(n.value), swaps: {}, locked: [] });
      if (hadChanges) say("Another palette has other colours, so the changes are gone: Undo brings them back.");
    });
    const slide = (isFinal) => {
      const given = ["#lch-l", "#lch-c", "#lch-h"].map((one) => Number($(one).value));
      this.sliding = true;
      this.give(fromOklch(given), isFinal);
      this.sliding = false;
      this._setSliders(given);
    };
    for (const one of ["#lch-l", "#lch-c", "#lch-h"]) {
      $(one).addEventListener("input", () => slide(false));
      $(one).addEventListener("change", () => slide(true));
    }
    $("#picker").addEventListener("input", (event) => this.give(event.target.value, false));
    $("#picker").addEventListener("change", (event) => this.give(event.target.value));
    $("#hex").addEventListener("change", (event) => {
      const found = parse(event.target.value);
      if (found) this.give(found);
      else say(`"${event.target.value}" is no colour: give one such as #c81e1e, tomato or oklch(60% 0.2 30).`, "error");
    });
    $("#reset").addEventListener("click", () => this.give(this.chosen));
    $("#reset-all").addEventListener("click", () => this.studio.history.change({ swaps: {}, pins: [], things: [] }));
    $("#lock").addEventListener("click", () => this.lock());
    $("#light").addEventListener("click", (event) => {
      this.lit = event.target.getAttribute("aria-pressed") !== "true";
      event.target.setAttribute("aria-pressed", String(this.lit));
      this.choose(this.chosen);
    });
    this._listenElsewhere();
  }

  lock() {
    if (this.chosen === null) return;
    const locked = this.edit.locked.includes(this.chosen)
      ? this.edit.locked.filter((one) => one !== this.chosen)
      : [...this.edit.locked, this.chosen];
    this.studio.history.change({ locked });
  }

  _listenElsewhere() {
    $("#map").addEventListener("change", (event) => event.target.value && this._assign(event.target.value));
    $("#reference").addEventListener("click", () => $("#reference-file").click());
    $("#reference-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) trying(() => this._refer(file));
    });
    const paste = () => trying(async () => this._assign((await postBytes("/v1/palettes", $("#pasted").value, { kind: "text" })).colors));
    $("#paste").addEventListener("click", paste);
    $("#pasted").addEventListener("keydown", (event) => event.key === "Enter" && paste());
    $("#second").addEventListener("click", (event) => {
      const box = event.target.getBoundingClientRect();
      const [x, y] = [(event.offsetX * event.target.width) / box.width, (event.offsetY * event.target.height) / box.height];
      this.give(toHex(event.target.getContext("2d").getImageData(x, y, 1, 1).data.slice(0, 3)));
    });
  }

  /** Takes the colours of another photo, or of a palette file. */
  async _refer(file) {
    if (!IMAGES.test(file.name)) {
      const kind = file.name.split(".").pop().toLowerCase();
      return this._assign((await postBytes("/v1/palettes", file, { kind })).colors);
    }
    const { id } = await postPhoto(file);
    const view = await bitmap(await (await fetch(`/v1/photos/${id}/view.png?pixels=65536`)).blob());
    const canvas = $("#second");
    [canvas.width, canvas.height, canvas.hidden] = [view.width, view.height, false];
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(view, 0, 0);
    return this._assign(id);
  }

  /** Shows the best ways to give the photo the colours of a palette, and takes the best one. */
  _assign(palette) {
    return trying(async () => {
      const { photo, preview } = this.studio;
      if (!photo) return say("Open a photo first.", "error");
      const body = { palette, n_colors: this.edit.n, k: 6 };
      const { assignments } = await postJson(`/v1/photos/${photo.id}/assignments`, body);
      $("#choices").replaceChildren(
        ...assignments.map((colors, i) =>
          make(
            "button",
            {
              type: "button",
              role: "radio",
              "aria-checked": String(i === 0),
              "aria-label": `Assignment ${i + 1} of ${assignments.length}`,
              tabIndex: i ? -1 : 0,
              on: {
                click: (event) => {
                  for (const one of $("#choices").children) one.setAttribute("aria-checked", String(one === event.currentTarget));
                  this.giveAll(colors);
                },
              },
            },
            thumbnail(preview, colors),
          ),
        ),
      );
      this.giveAll(assignments[0]);
      return say(assignments.length === 1 ? "There is one assignment." : `${assignments.length} assignments: the best one is shown.`);
    });
  }

  /** The names of colour maps. */
  async maps() {
    const { colormaps, segment_anything: segments } = await getJson("/v1/info");
    $("#sam").hidden = !segments;
    $("#map").append(...colormaps.map((name) => make("option", { value: name }, name)));
  }
}

function hueOrder(hex) {
  const [light, chroma, hue] = toOklch(hex);
  return chroma < 0.03 ? light - 10 : Math.round(hue / 12) + light / 2;
}

export const isGrey = (palette) => palette.every(({ color }) => Math.max(...toBytes(color)) - Math.min(...toBytes(color)) < 12);
