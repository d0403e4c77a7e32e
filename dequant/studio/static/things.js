// Things of a photo: chosen by a click in a hierarchy of regions, corrected by brush and lasso, and given a colour.

import { bitmap, getJson, postJson } from "./api.js";
import { parse, toBytes } from "./color.js";
import { $, $$, make, say, trying } from "./dom.js";
import { pack, unpack } from "./edits.js";
import { Regions, disc, drawMask, maskOf, polygon, widened } from "./regions.js";

const HOVER = [255, 255, 255];

/** The panel of a studio. */
export class ThingsPanel {
  constructor(studio) {
    this.studio = studio;
    this.regions = null;
    this.clear();
    this._listen();
  }

  clear() {
    this.base = null; // the mask that the thing under the pointer is added to, or removed from
    this.mask = null;
    this.chosen = null; // the sizes of the thing that was clicked
    this.points = []; // for Segment Anything
    this.hovered = -1;
    this.line = null;
  }

  get tool() {
    return $("input[name='tool']:checked").value;
  }

  /** Computes the regions once for each photo. */
  async open() {
    const { photo } = this.studio;
    if (!photo || this.regions?.of === photo.id) return;
    say("Looking for the things of the photo ...");
    const found = new Regions(await getJson(`/v1/photos/${photo.id}/regions`));
    found.of = photo.id;
    this.regions = found;
    this.clear();
    say("Click a thing.");
  }

  _place({ x, y }) {
    const { stage } = this.studio;
    return [
      Math.min(this.regions.width - 1, Math.floor((x * this.regions.width) / stage.width)),
      Math.min(this.regions.height - 1, Math.floor((y * this.regions.height) / stage.height)),
    ];
  }

  press(point, event) {
    if (!this.regions) return false;
    const size = this.regions.width * this.regions.height;
    const [x, y] = this._place(point);
    if (this.tool === "segment") {
      trying(() => this._segment(point, event));
      return true;
    }
    if (this.tool === "click") {
      const keeps = event.shiftKey || event.altKey;
      this.base = keeps && this.mask ? this.mask : new Uint8Array(size);
      this.sign = event.altKey ? 0 : 1;
      this.chosen = this.regions.sizes(this.regions.around(x, y));
      this._compose();
    } else {
      this.sign = event.altKey ? 0 : 1;
      this.mask = Uint8Array.from(this.mask ?? new Uint8Array(size));
      this.chosen = null;
      this.line = [[x, y]];
      if (this.tool === "brush") this._dab(x, y);
    }
    this.show();
    return true;
  }

  /** Has Segment Anything find the thing at a point; Shift adds a point inside, Alt one outside. */
  async _segment(point, event) {
    const { photo, stage } = this.studio;
    const at = [Math.floor((point.x * photo.width) / stage.width), Math.floor((point.y * photo.height) / stage.height)];
    if (!(event.shiftKey || event.altKey)) this.points = [];
    this.points.push({ at, inside: !event.altKey });
    say("Looking for the thing ...");
    const body = { points: this.points.map((one) => one.at), inside: this.points.map((one) => one.inside) };
    const { area } = await postJson(`/v1/photos/${photo.id}/segment`, body);
    this.mask = maskOf(await bitmap(area, "image/png"), this.regions.width, this.regions.height);
    this.chosen = null;
    this.show();
    say("Shift adds to it, Alt takes away.");
  }

  move(point) {
    if (!this.line) return;
    const [x, y] = this._place(point);
    const [fromX, fromY] = this.line.at(-1);
    this.line.push([x, y]);
    if (this.tool === "brush") {
      const steps = Math.ceil(Math.hypot(x - fromX, y - fromY) / 2) || 1;
      for (let i = 1; i <= steps; i++) this._dab(fromX + ((x - fromX) * i) / steps, fromY + ((y - fromY) * i) / steps);
    }
    this.show();
  }

  release() {
    if (this.line && this.tool === "lasso" && this.line.length > 2) {
      polygon(this.mask, this.regions.width, this.regions.height, this.line, this.sign);
    }
    this.line = null;
    this.show();
  }

  hover(point) {
    if (!this.regions || this.tool !== "click") return;
    const chain = point.inside ? this.regions.around(...this._place(point)) : null;
    const hovered = chain ? chain[this.regions.usual(chain)] : -1;
    if (hovered === this.hovered) return;
    this.hovered = hovered;
    this.show();
  }

  leave() {
    this.hovered = -1;
    this.show();
  }

  wheel(event) {
    if (!this.chosen || this.tool !== "click") return false;
    this.grow(event.deltaY < 0 ? 1 : -1);
    return true;
  }

  /** Takes the next larger or smaller region along the hierarchy. */
  grow(step) {
    if (!this.chosen) return say("Click a thing first.", "error");
    const { regions, at } = this.chosen;
    this.chosen.at = Math.min(regions.length - 1, Math.max(0, at + step));
    this._compose();
    return this.show();
  }

  _dab(x, y) {
    const radius = (Number($("#size").value) * this.regions.width) / 800;
    disc(this.mask, this.regions.width, this.regions.height, x, y, Math.max(0.7, radius), this.sign);
  }

  _compose() {
    const own = widened(this.regions.mask(this.chosen.regions[this.chosen.at]), this.regions.width, this.regions.height);
    this.mask = Uint8Array.from(this.base, (one, i) => (own[i] ? this.sign : one));
  }

  /** The chosen pixels, and those under the pointer. */
  show() {
    const { stage } = this.studio;
    const context = stage.contexts.marks;
    context.clearRect(0, 0, stage.width, stage.height);
    const count = this.mask?.reduce((sum, one) => sum + one, 0) ?? 0;
    $("#give").disabled = !count;
    if (!this.regions || this.studio.tab !== "things") return;
    const { width, height } = this.regions;
    if (this.hovered >= 0 && !this.line) drawMask(context, this.regions.mask(this.hovered), width, height, HOVER, 40);
    if (count) drawMask(context, this.mask, width, height, toBytes(this._color() ?? "#ffffff"), 110);
    if (this.line && this.tool === "lasso") {
      context.strokeStyle = "#fff";
      context.lineWidth = 2;
      context.beginPath();
      this.line.forEach(([x, y]) => context.lineTo(((x + 0.5) * stage.width) / width, ((y + 0.5) * stage.height) / height));
      context.stroke();
    }
  }

  _color() {
    return parse($("#thing-hex").value);
  }

  /** Gives the chosen thing its colour. */
  give() {
    const color = this._color();
    if (!color) return say(`"${$("#thing-hex").value}" is no colour: give one such as #c81e1e or tomato.`, "error");
    if (!this.mask?.some(Boolean)) return say("Choose a thing first: click it.", "error");
    const thing = { color, area: pack(this.mask, this.regions.width, this.regions.height) };
    this.clear();
    this.show();
    return this.studio.history.change({ things: [...this.studio.history.now.things, thing] });
  }

  /** The things that have a colour. */
  list() {
    const { things } = this.studio.history.now;
    const set = (i, color) => this.studio.history.change({ things: things.map((one, j) => (j === i ? { ...one, color } : one)) });
    $("#thing-list").replaceChildren(
      ...things.map((one, i) =>
        make(
          "li",
          {},
          make("input", { type: "color", value: one.color, "aria-label": `Colour of thing ${i + 1}`, on: { change: (event) => set(i, event.target.value) } }),
          maskPicture(one.area),
          make("span", { title: one.color }, `thing ${i + 1}`),
          make("button", { type: "button", on: { click: () => this._again(i) } }, "Change"),
          make("button", { type: "button", on: { click: () => this.studio.history.change({ things: things.filter((_, j) => j !== i) }) } }, "Remove"),
        ),
      ),
    );
  }

  /** Takes a thing back into the hand. */
  _again(i) {
    const { things } = this.studio.history.now;
    if (this.regions && things[i].area.width === this.regions.width) {
      this.mask = unpack(things[i].area);
      this.chosen = null;
      $("#thing-hex").value = $("#thing-color").value = things[i].color;
    }
    this.studio.history.change({ things: things.filter((_, j) => j !== i) });
    this.show();
  }

  _listen() {
    $("#grow").addEventListener("click", () => this.grow(1));
    $("#shrink").addEventListener("click", () => this.grow(-1));
    $("#unselect").addEventListener("click", () => {
      this.clear();
      this.show();
    });
    $("#give").addEventListener("click", () => this.give());
    $("#thing-color").addEventListener("input", (event) => {
      $("#thing-hex").value = event.target.value;
      this.show();
    });
    $("#thing-hex").addEventListener("input", () => {
      const color = this._color();
      if (color) $("#thing-color").value = color;
      this.show();
    });
    $("#thing-hex").addEventListener("keydown", (event) => event.key === "Enter" && this.give());
    for (const one of $$("input[name='tool']")) one.addEventListener("change", () => trying(() => this.open()));
  }
}

function maskPicture(area) {
  const canvas = make("canvas", { width: area.width, height: area.height });
  drawMask(canvas.getContext("2d"), unpack(area), area.width, area.height, [255, 255, 255], 255);
  return canvas;
}
