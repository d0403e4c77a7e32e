// The studio: a photo, what is asked of it, and the pictures of both. Panels ask it, it asks the server.

import { bitmap, follow, getBlob, getBytes, getJson, postBytes, postJson, postPhoto } from "./api.js";
import { ColorizePanel } from "./colorize.js";
import { $, $$, make, quiet, roving, say, trying } from "./dom.js";
import { FRESH, History, asBody, asksFor, storage, unpack } from "./edits.js";
import { listen } from "./keys.js";
import { Output, Progress, clearReport, showReport } from "./output.js";
import { PalettePanel, isGrey } from "./palette.js";
import { Preview } from "./preview.js";
import { Stage } from "./stage.js";
import { ThingsPanel } from "./things.js";
import { toBytes } from "./color.js";

const VIEW = 2 ** 21; // pixels that are shown; larger photos are worked at full size in the end
const MOST = 12; // drawn pictures that undo and redo find again
const PAUSE = 400; // milliseconds of quiet before an edit is drawn

class Studio {
  constructor() {
    [this.photo, this.palette, this.result, this.running, this.tab, this.mode] = [null, [], null, null, "palette", null];
    [this.results, this.wholes] = [new Map(), new Map()];
    this.history = new History((edit, isFinal) => this._changed(edit, isFinal));
    this.stage = new Stage(this._acts());
    this.preview = new Preview((key, picture) => key === this._key() && !this._shownResult() && this._showGuided(picture));
    this.progress = new Progress();
    this.output = new Output(this);
    this.palettes = new PalettePanel(this);
    this.things = new ThingsPanel(this);
    this.colorize = new ColorizePanel(this);
    this.drawLater = quiet(PAUSE, () => $("#live").checked && this.draw());
    this.save = quiet(250, () => this._save());
    this.prepareLater = quiet(100, () => this._prepare());
    this.guideLater = quiet(60, () => this.preview.guide(...this.foreseen));
  }

  /** Opens a file: it goes to the server, and is kept in this browser for as long as the session lasts. */
  open(file) {
    const turn = (this.turn = {});
    return trying(async () => {
      this.stop();
      say(`Reading ${file.name} ...`);
      const about = await postPhoto(file, { n_colors: FRESH.n }).catch((error) => {
        if (turn !== this.turn) return null;
        error.message = error.message.replace("the given bytes", file.name);
        throw error;
      });
      if (turn !== this.turn || !(await this._begin(turn, about, file.name, FRESH))) return;
      await storage.keep(file).catch(() => undefined);
      const notes = about.notes.length ? ` Note: ${about.notes.join("; ")}.` : "";
      say(`${file.name}: ${about.width} × ${about.height} pixels.${notes}`);
      if (isGrey(this.palette)) {
        this.show("colorize");
        say("This photo is grey: say what it shows, and colorize it.");
      }
    });
  }

  /** Shows a photo; false where another one was opened in the meantime. */
  async _begin(turn, about, name, edit, past = [], future = []) {
    const view = await bitmap(await getBlob(`/v1/photos/${about.id}/view.png`, { pixels: VIEW }));
    const isLarge = about.width * about.height > VIEW;
    const live = isLarge ? await postBytes(`/v1/photos/${about.id}/reduced`, "", { pixels: VIEW }) : about;
    if (turn !== this.turn) return false;
    this.photo = { ...about, name, live, scale: live.width / about.width };
    [this.result, this.results, this.wholes, this.closest] = [null, new Map(), new Map(), null];
    this.stage.soften("before");
    this.stage.soften("after");
    this.stage.open(view, [about.width, about.height]);
    $("#name").textContent = `${name}, ${about.width} × ${about.height}`;
    $("#empty").hidden = true;
    this.history.reset(edit, past, future);
    await this._loadPalette(edit.n);
    if (turn !== this.turn) return false;
    this.palettes.choose(null);
    this.colorize.open();
    this.things.clear();
    if (this.tab === "things") await this.things.open();
    this._changed(this.history.now, true);
    return true;
  }

  async _loadPalette(n) {
    const { id } = this.photo;
    const [about, indices] = await Promise.all([
      getJson(`/v1/photos/${id}`, { n_colors: n }),
      getBytes(`/v1/photos/${id}/indices`, { n_colors: n, pixels: VIEW }),
    ]);
    if (id !== this.photo.id || n !== this.history.now.n) return;
    [this.palette, this.loaded] = [about.palette, n];
    this.preview.open(this.stage.photo, indices, this.palette.map((one) => one.color));
    this.palettes.open();
  }

  _key(edit = this.history.now) {
    const { locked, ...asked } = edit; // locks change no picture
    return JSON.stringify([this.photo?.id, asked]);
  }

  /** The drawn picture of the edit as it is now, also of one that was undone and done again. */
  _shownResult() {
    const found = this.isColored ? null : this.results.get(this._key());
    if (found) this.result = found;
    return found ?? null;
  }

  /** Whether a colorization is shown, in place of an edit. */
  get isColored() {
    return Boolean(this.result && this.result.operation !== "repaint");
  }

  /** The edit has changed: shows at once what it will look like, and has it drawn once things are quiet. */
  _changed(edit, isFinal) {
    if (!this.photo) return;
    $("#n").value = $("#n-shown").textContent = edit.n;
    if (edit.n !== this.loaded) {
      trying(async () => {
        await this._loadPalette(edit.n);
        this._changed(this.history.now, true);
      });
      return;
    }
    if (this.running && this.running.key !== this._key()) this.stop();
    if (!isFinal) {
      this._drag(edit);
      return;
    }
    this.stage.quicken(null);
    if (this.isColored) {
      this.result = null;
      say("This is an edit of the grey photo. Colorize shows the colorization again; Continue from it edits that.");
    }
    this.stage.soften("after");
    this.closest = null;
    $("#edges-on").setAttribute("aria-pressed", "false");
    this.stage.canvases.edges.hidden = true;
    const isDrawn = Boolean(this._shownResult());
    if (isDrawn) this._showResult();
    else {
      this._foresee(edit);
      clearReport();
    }
    this._label();
    this.palettes.show();
    this.things.list();
    this._showHow(edit);
    this.save();
    this.prepareLater();
    if (asksFor(edit) && !isDrawn) this.drawLater();
    else this.drawLater.cancel();
  }

  /** Shows what an edit will look like: its colours at once, and along the photo's edges soon after. */
  _foresee(edit) {
    this.stage.show(this.preview.atOnce(edit.swaps));
    this.preview.guide(edit.swaps, this._thingChanges(edit), this._key());
  }

  /** The same while a colour is dragged, each frame: with no more pixels than the screen shows. */
  _drag(edit) {
    const picture = this.preview.atOnce(edit.swaps, this.stage.shown);
    if (picture.width < this.stage.width) this.stage.quicken(picture);
    else this.stage.show(picture);
    $("#kind").textContent = "preview";
    this.palettes.showChosen();
    this.foreseen = [edit.swaps, this._thingChanges(edit), this._key()];
    this.guideLater();
  }

  _showGuided(picture) {
    this.stage.quicken(null);
    this.stage.show(picture);
  }

  _showResult() {
    this.stage.show(this.result.view);
    showReport(this.result.report);
  }

  _thingChanges(edit) {
    return edit.things.map(({ color, area }) => ({ mask: unpack(area), columns: area.width, rows: area.height, color: toBytes(color) }));
  }

  _label() {
    const [asked, drawn] = [asksFor(this.history.now), this._shownResult()];
    $("#kind").textContent = drawn || this.isColored ? "after" : asked ? "preview" : "nothing changed";
    $("#draw").disabled = !asked || Boolean(drawn);
    $("#edges-on").disabled = !this.result;
    $("#undo").disabled = !this.history.past.length;
    $("#redo").disabled = !this.history.future.length;
    this.output.enable(Boolean(drawn) || this.isColored);
  }

  _showHow(edit) {
    $("#way").value = edit.way;
    $("#luminance").value = edit.luminance;
    $("#keep").value = edit.keep_palette;
    $("#steps").value = edit.steps ?? "";
  }

  /** Has the server do what the first drawing needs while the user still looks for a colour. */
  async _prepare() {
    const { n_colors, settings, way } = await asBody(this.history.now, this.photo.seed);
    const wanted = JSON.stringify([this.photo.live.id, n_colors, settings]);
    if (way !== "change" || wanted === this.prepared || !$("#live").checked) return;
    this.preparing?.abort();
    this.preparing = new AbortController();
    this.prepared = wanted;
    postJson(`/v1/photos/${this.photo.live.id}/prepare`, { n_colors, settings }, this.preparing.signal).catch(() => undefined);
  }

  /** Has the edit drawn, or a colorization, and shows its steps. */
  draw(operation = "repaint", body = null) {
    return trying(async () => {
      if (!this.photo) return say("Open a photo first.", "error");
      if (operation === "repaint" && !asksFor(this.history.now)) {
        return say("Nothing is asked for yet: change a colour, place a pin or choose a thing.", "error");
      }
      const edit = this.history.now;
      const key = () => (operation === "repaint" ? this._key(edit) : JSON.stringify([operation, body])); // the photo may get another id
      const known = this.results.get(key());
      if (known) {
        this.result = known;
        this._showResult();
        this._label();
        return this.save();
      }
      const asked = body ?? (await asBody(edit, this.photo.seed, this.photo.scale));
      const result = await this._again(() => this._follow(operation, asked, this.photo.live.id, key()));
      if (!result) return undefined;
      const view = await bitmap(await getBlob(`/v1/results/${result.id}/view.png`, { pixels: VIEW }));
      if (operation === "repaint" && key() !== this._key()) return undefined;
      this.result = { ...result, key: key(), operation, body, view };
      this.results.set(key(), this.result);
      if (this.results.size > MOST) this.results.delete(this.results.keys().next().value);
      this._showResult();
      this._label();
      this.save();
      return say(operation === "diffcolor" ? "Done. Other words for the edit take seconds now." : "Done.");
    });
  }

  /** Does something with the photo; where the server has lost the session, it gets the photo once more. */
  async _again(work) {
    try {
      return await work();
    } catch (error) {
      const file = error.status === 404 && (await storage.kept());
      if (!file) throw error;
      const about = await postPhoto(file, { n_colors: this.history.now.n });
      const isLarge = this.photo.live.id !== this.photo.id;
      const live = isLarge ? await postBytes(`/v1/photos/${about.id}/reduced`, "", { pixels: VIEW }) : about;
      [this.photo.id, this.photo.live] = [about.id, live];
      [this.results, this.wholes] = [new Map(), new Map()];
      return work();
    }
  }

  async _follow(operation, body, id, key, isShown = true) {
    this.stop();
    this.drawLater.cancel();
    const running = { key, isShown, controller: new AbortController() };
    this.running = running;
    $("#stop").disabled = false;
    const what = operation === "diffcolor" ? "Tuning to the photo" : isShown ? "Drawing" : "Drawing all pixels of the photo";
    this.progress.start(isShown ? operation : `${operation}, whole`, what);
    let finished = false;
    try {
      const result = await follow(`/v1/photos/${id}/${operation}`, body, (name, told) => this._seen(running, name, told), running.controller.signal);
      finished = true;
      return result;
    } finally {
      if (this.running === running) {
        this.progress.stop(finished);
        this.running = null;
        $("#stop").disabled = true;
      }
    }
  }

  _seen(running, name, told) {
    if (this.running !== running) return;
    if (name === "waiting") this.progress.wait(told.place);
    if (name === "losses") {
      this.colorize.losses(told);
      this.progress.tell(told.step / told.of, told.seconds_left, `Tuning to the photo, ${told.stage}`);
    }
    if (name === "step") {
      if (told.of > 1) this.progress.tell(told.step / told.of, told.seconds_left, `Step ${told.step} of ${told.of}`);
      if (told.picture && running.isShown) {
        bitmap(told.picture).then((picture) => {
          if (this.running !== running) return;
          this.stage.show(picture);
          $("#kind").textContent = `step ${told.step} of ${told.of}`;
        });
      }
    }
  }

  stop() {
    if (!this.running) return;
    this.running.controller.abort();
    this.progress.stop(false);
    this.running = null;
    $("#stop").disabled = true;
    $("#losses").hidden = true;
    say("Stopped.");
    if (this.photo && !this._shownResult()) this.preview.guide(this.history.now.swaps, this._thingChanges(this.history.now), this._key());
    this._label();
  }

  /** The result at full size: that which is shown, or, for a large photo, the same edit of the whole. */
  async whole() {
    const { result, photo } = this;
    if (!result) return null;
    if (photo.live.id === photo.id) return result;
    if (!this.wholes.has(result.key)) {
      const body = result.body ?? (await asBody(this.history.now, photo.seed));
      this.wholes.set(result.key, await this._follow(result.operation, body, photo.id, result.key, false));
    }
    return this.wholes.get(result.key);
  }

  /** Lights the pixels of one colour of the palette; -1 for none. */
  highlight(index) {
    const { marks } = this.stage.contexts;
    marks.clearRect(0, 0, this.stage.width, this.stage.height);
    if (index < 0 || !this.preview.indices) return;
    const image = new ImageData(this.stage.width, this.stage.height);
    const shades = new Uint32Array(image.data.buffer);
    this.preview.indices.forEach((one, i) => (shades[i] = one === index ? 0 : 0xb8000000));
    marks.putImageData(image, 0, 0);
  }

  show(tab) {
    this.tab = tab;
    for (const one of $$("[role='tab']")) {
      const isShown = one.id === `tab-${tab}`;
      one.setAttribute("aria-selected", String(isShown));
      one.tabIndex = isShown ? 0 : -1;
      $(`#${one.getAttribute("aria-controls")}`).hidden = !isShown;
    }
    for (const id of ["draw", "at-once", "how"]) $(`#${id}`).hidden = tab === "colorize"; // which has a button of its own
    this.highlight(-1);
    this.setMode(null);
    if (tab === "things") {
      trying(async () => {
        await this.things.open();
        this.things.show();
      });
    }
  }

  /** What the next click on the picture does: "pin", "pick", or what the tab says. */
  setMode(mode) {
    this.mode = mode;
    $("#pin").setAttribute("aria-pressed", String(mode === "pin"));
    $("#dropper").setAttribute("aria-pressed", String(mode === "pick"));
    if (mode === "pick") this.highlight(-1); // its veil would hide what is picked
    $("#stage").dataset.tool = mode ?? (this.tab === "things" ? "thing" : "pan");
  }

  _acts() {
    const isThings = () => this.tab === "things" && !this.mode;
    return {
      press: (point, event) => {
        if (this.mode === "pick") {
          this.palettes.give(this.stage.colorAt(point.x, point.y, event.altKey ? "before" : "after"));
          this.setMode(null);
          return true;
        }
        if (this.mode === "pin") {
          const at = [point.x / this.stage.width, point.y / this.stage.height];
          const pin = { x: Math.floor(at[0] * this.photo.width), y: Math.floor(at[1] * this.photo.height), color: $("#pin-color").value };
          const others = this.history.now.pins.filter((one) => one.x !== pin.x || one.y !== pin.y);
          $("#pinned").open = true;
          this.history.change({ pins: [...others, pin] });
          return true;
        }
        return isThings() && this.things.press(point, event);
      },
      tap: (point) => {
        if (this.tab !== "palette") return;
        const index = this.preview.indices[point.y * this.stage.width + point.x];
        this.palettes.choose(this.palette[index].color);
      },
      move: (point, event) => isThings() && this.things.move(point, event),
      release: (point) => isThings() && this.things.release(point),
      hover: (point) => isThings() && this.things.hover(point),
      leave: () => isThings() && this.things.leave(),
      wheel: (event) => isThings() && this.things.wheel(event),
      closer: () => trying(() => this._closer()),
    };
  }

  /** All pixels of a large photo, and of its picture, once someone looks closely. */
  async _closer() {
    const { id } = this.photo;
    if (this.closest === this._key()) return;
    this.closest = this._key();
    const before = await bitmap(await getBlob(`/v1/photos/${id}/view.png`, { pixels: 2 ** 25 }));
    if (id === this.photo.id) this.stage.sharpen("before", before);
    const whole = this._shownResult() && this.wholes.get(this.result.key);
    if (whole) this.stage.sharpen("after", await bitmap(await getBlob(`/v1/results/${whole.id}/view.png`, { pixels: 2 ** 25 })));
  }

  async showEdges(on) {
    const { edges } = this.stage.contexts;
    edges.canvas.hidden = !on;
    if (!on || !this.result) return;
    const found = await bitmap(await getBlob(`/v1/results/${this.result.id}/edges.png`, { photo: this.photo.live.id, pixels: VIEW }));
    edges.clearRect(0, 0, this.stage.width, this.stage.height);
    edges.globalCompositeOperation = "source-over";
    edges.drawImage(found, 0, 0, this.stage.width, this.stage.height);
    const image = edges.getImageData(0, 0, this.stage.width, this.stage.height);
    for (let i = 0; i < image.data.length; i += 4) {
      const value = image.data[i];
      image.data.set([255, 0, 200, value], i);
    }
    edges.putImageData(image, 0, 0);
  }

  _save() {
    const { photo, history } = this;
    if (photo) storage.save({ photo: photo.id, name: photo.name, edit: history.now, past: history.past, future: history.future, colored: this.isColored });
  }

  /** After a reload, or a restart of the server: the photo, the edit and its history are as they were. */
  async restore() {
    const [kept, turn] = [storage.load(), (this.turn = {})];
    if (!kept?.photo) return;
    let about;
    try {
      about = await getJson(`/v1/photos/${kept.photo}`, { n_colors: kept.edit.n });
    } catch {
      const file = await storage.kept();
      if (!file) return;
      about = await postPhoto(file, { n_colors: kept.edit.n });
    }
    if (!(await this._begin(turn, about, kept.name, kept.edit, kept.past, kept.future))) return;
    say(kept.colored ? `${kept.name} is here again; colorize it again to see it in colour.` : `${kept.name} is as you left it.`);
  }

  async samples() {
    for (const { name, title } of await getJson("/v1/samples")) {
      const open = () =>
        trying(async () => this.open(new File([await getBlob(`/v1/samples/${name}`)], name)));
      const image = make("img", { src: `/v1/samples/${name}`, alt: title, width: 128, height: 88 });
      $("#samples").append(make("div", { role: "listitem" }, make("button", { type: "button", title, on: { click: open } }, image)));
    }
  }
}

const studio = new Studio();
roving($(".tabs"), "[role='tab']");
for (const one of $$("[role='tab']")) one.addEventListener("click", () => studio.show(one.id.slice(4)));
listen(studio);
studio.setMode(null);
trying(() => studio.palettes.maps());
trying(() => studio.samples());
trying(() => studio.restore());
