// The two pictures, before and after, with one zoom and one place for both, and what lies on them.

import { $, make } from "./dom.js";
import { toHex } from "./color.js";

const MAX_ZOOM = 16;
const SLACK = 4; // pixels that a click may move

/** Shows pictures. `acts` has press(point, event), move, release, wheel(event) for the tool in use: true where it acted. */
export class Stage {
  constructor(acts) {
    this.acts = acts;
    this.frame = $("#stage");
    this.panes = { before: $("#pane-before"), after: $("#pane-after") };
    this.sheets = { before: $("#pane-before .sheet"), after: $("#pane-after .sheet") };
    this.canvases = { before: $("#before"), after: $("#after"), quick: $("#quick"), marks: $("#marks"), edges: $("#edges") };
    this.contexts = Object.fromEntries(
      Object.entries(this.canvases).map(([name, canvas]) => [name, canvas.getContext("2d", { willReadFrequently: name !== "edges" })]),
    );
    [this.width, this.height, this.zoom, this.x, this.y] = [0, 0, 1, 0, 0];
    this.cursor = [0.5, 0.5];
    this.mode = "slider";
    this._listen();
  }

  /** Begins with another photo: its view as an ImageBitmap, and the size of the whole photo in pixels. */
  open(view, whole) {
    [this.width, this.height, this.whole] = [view.width, view.height, whole];
    this.quicken(null);
    for (const canvas of Object.values(this.canvases)) [canvas.width, canvas.height] = [view.width, view.height];
    for (const sheet of Object.values(this.sheets)) {
      sheet.style.width = `${view.width}px`;
      sheet.style.height = `${view.height}px`;
    }
    this.contexts.before.drawImage(view, 0, 0);
    this.photo = this.contexts.before.getImageData(0, 0, view.width, view.height);
    this.frame.dataset.open = "";
    this.show(view);
    this.fit();
  }

  /** Draws the picture after the edit: an ImageData of the view's size, or a bitmap of any size. */
  show(picture) {
    if (picture instanceof ImageData) this.contexts.after.putImageData(picture, 0, 0);
    else {
      this.contexts.after.clearRect(0, 0, this.width, this.height);
      this.contexts.after.drawImage(picture, 0, 0, this.width, this.height);
    }
  }

  /** Pixels of the view for one of the screen: 1, or less where the picture is shown smaller than it is. */
  get shown() {
    return Math.min(1, this.zoom * devicePixelRatio);
  }

  /** Lays a smaller picture over that after the edit, as long as a colour is dragged; null takes it away. */
  quicken(picture) {
    const { quick } = this.canvases;
    quick.hidden = !picture;
    this.frame.toggleAttribute("data-drag", Boolean(picture));
    if (!picture) return;
    if (quick.width !== picture.width || quick.height !== picture.height) {
      [quick.width, quick.height] = [picture.width, picture.height];
    }
    this.contexts.quick.putImageData(picture, 0, 0);
  }

  /** The colour of the photo, or of the edited picture, at a place of the view. */
  colorAt(x, y, name = "before") {
    return toHex(this.contexts[name].getImageData(x, y, 1, 1).data.slice(0, 3));
  }

  compare(mode) {
    this.mode = mode;
    this.frame.dataset.mode = mode;
    this.fit();
  }

  split(share) {
    this.frame.style.setProperty("--split", share);
    this.frame.toggleAttribute("data-split", Number(share) > 0);
  }

  /** Shows the photo in place of the picture, as long as it is on. */
  blink(on) {
    this.frame.toggleAttribute("data-blink", on);
  }

  fit() {
    if (!this.width) return;
    const box = this.panes.after.getBoundingClientRect();
    this.zoom = Math.min(box.width / this.width, box.height / this.height, 4);
    [this.x, this.y] = [(box.width - this.width * this.zoom) / 2, (box.height - this.height * this.zoom) / 2];
    this.fitted = true;
    this._place();
  }

  /** Zooms about a place of the pane; `factor` 0 is one pixel of the whole photo for one of the screen. */
  zoomBy(factor, at) {
    if (!this.width) return;
    const box = this.panes.after.getBoundingClientRect();
    const [x, y] = at ?? [box.width / 2, box.height / 2];
    const least = Math.min(box.width / this.width, box.height / this.height, 1) / 2;
    const wanted = factor === 0 ? this.whole[0] / this.width / devicePixelRatio : this.zoom * factor;
    const zoom = Math.min(MAX_ZOOM, Math.max(least, wanted));
    this.x = x - ((x - this.x) * zoom) / this.zoom;
    this.y = y - ((y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
    this.fitted = false;
    this._place();
    if (zoom * devicePixelRatio > 1.001 && this.whole[0] > this.width) this.acts.closer?.();
  }

  panBy(dx, dy) {
    [this.x, this.y, this.fitted] = [this.x + dx, this.y + dy, false];
    this._place();
  }

  /** Lays pictures of more pixels over the view, for a close look. */
  sharpen(name, bitmap) {
    const canvas = $(`#${name}-close`);
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    canvas.hidden = false;
  }

  soften(name) {
    const canvas = $(`#${name}-close`);
    canvas.hidden = true;
    canvas.width = canvas.height = 1;
  }

  /** Pins as handles on the picture. */
  pins(pins, chosen) {
    const layer = $("#pins");
    layer.replaceChildren(
      ...pins.map((pin, i) =>
        make("span", {
          className: "pin",
          title: `Pin ${i + 1}: ${pin.color}`,
          style: {
            left: `${(100 * (pin.x + 0.5)) / this.whole[0]}%`,
            top: `${(100 * (pin.y + 0.5)) / this.whole[1]}%`,
            "--color": pin.color,
          },
          "aria-current": i === chosen ? "true" : "false",
        }),
      ),
    );
    this._place();
  }

  _place() {
    this.frame.style.setProperty("--zoom", this.zoom);
    for (const sheet of Object.values(this.sheets)) {
      sheet.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    }
    this.frame.toggleAttribute("data-pixels", this.zoom > 3);
    $("#zoom").textContent = `${Math.round(((this.zoom * this.width) / (this.whole?.[0] ?? this.width)) * devicePixelRatio * 100)}%`;
    this._showCursor();
  }

  /** Where an event is: x and y of the view in pixels, and whether that is on the picture. */
  point(event) {
    const pane = event.target.closest?.(".pane") ?? this.panes.after;
    const box = pane.getBoundingClientRect();
    const x = (event.clientX - box.left - this.x) / this.zoom;
    const y = (event.clientY - box.top - this.y) / this.zoom;
    return { x: Math.floor(x), y: Math.floor(y), inside: x >= 0 && y >= 0 && x < this.width && y < this.height };
  }

  _cursorPoint() {
    return {
      x: Math.min(this.width - 1, Math.floor(this.cursor[0] * this.width)),
      y: Math.min(this.height - 1, Math.floor(this.cursor[1] * this.height)),
      inside: true,
    };
  }

  _showCursor() {
    const mark = $("#cursor");
    mark.style.left = `${100 * this.cursor[0]}%`;
    mark.style.top = `${100 * this.cursor[1]}%`;
  }

  _listen() {
    let from = null;
    this.frame.addEventListener("pointerdown", (event) => {
      if (!this.width || event.button > 1 || event.target.closest("input, button, label")) return;
      this.frame.focus({ preventScroll: true });
      this.frame.removeAttribute("data-keys");
      this.frame.setPointerCapture(event.pointerId);
      const point = this.point(event);
      const isTap = event.button === 0 && point.inside;
      const acted = isTap && this.acts.press(point, event);
      from = { x: event.clientX, y: event.clientY, acted, isTap };
      if (acted) [this.cursor[0], this.cursor[1]] = [point.x / this.width, point.y / this.height];
    });
    this.frame.addEventListener("pointermove", (event) => {
      if (!this.width) return;
      if (!from) return this.acts.hover?.(this.point(event), event);
      if (from.acted) return this.acts.move?.(this.point(event), event);
      if (from.isTap && Math.hypot(event.clientX - from.x, event.clientY - from.y) < SLACK) return;
      from.isTap = false;
      this.panBy(event.clientX - from.x, event.clientY - from.y);
      [from.x, from.y] = [event.clientX, event.clientY];
    });
    const end = (event) => {
      if (from?.acted) this.acts.release?.(this.point(event), event);
      else if (from?.isTap && event.type === "pointerup") this.acts.tap?.(this.point(event));
      from = null;
    };
    this.frame.addEventListener("pointerup", end);
    this.frame.addEventListener("pointercancel", end);
    this.frame.addEventListener("pointerleave", () => this.acts.leave?.());
    this.frame.addEventListener(
      "wheel",
      (event) => {
        if (!this.width) return;
        event.preventDefault();
        if (!event.ctrlKey && this.acts.wheel?.(event)) return;
        const box = this.panes.after.getBoundingClientRect();
        this.zoomBy(Math.exp(-event.deltaY / 400), [event.clientX - box.left, event.clientY - box.top]);
      },
      { passive: false },
    );
    this.frame.addEventListener("keydown", (event) => this._key(event));
    new ResizeObserver(() => this.fitted !== false && this.fit()).observe(this.panes.after);
  }

  /** Arrow keys move a cross, Enter does there what a click does. */
  _key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!this.width || event.target !== this.frame || event.ctrlKey || event.metaKey) return;
    if (step) {
      event.preventDefault();
      const size = event.shiftKey ? 0.05 : 0.01;
      this.cursor = this.cursor.map((value, i) => Math.min(0.9999, Math.max(0, value + step[i] * size)));
      this.frame.setAttribute("data-keys", "");
      this._showCursor();
      this.acts.hover?.(this._cursorPoint(), event);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.frame.setAttribute("data-keys", "");
      const point = this._cursorPoint();
      if (this.acts.press(point, event)) this.acts.release?.(point, event);
      else this.acts.tap?.(point);
    }
  }
}
