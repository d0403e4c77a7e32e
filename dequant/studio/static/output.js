// What comes out: the report, files at full size, and the command that does the same.

import { getBlob } from "./api.js";
import { $, make, say, seconds, trying } from "./dom.js";

const USUAL = 5; // seconds that work takes whose time is not known yet
const percent = (value) => (value == null ? "–" : `${Math.round(100 * value)}%`);
const number = (value, digits = 1) => (value == null ? "–" : value.toFixed(digits));

/** Takes the report away, as the picture that it was of is no longer shown. */
export function clearReport() {
  const text = "What was asked and what was delivered stands here once a picture is drawn.";
  $("#table").replaceChildren(make("p", { className: "faint" }, text));
}

/** The report of an edit as a table with swatches. */
export function showReport(report) {
  const figures = [
    ["Lightness L*, mean change", number(report.lightness)],
    ["Edges of the photo that are kept", percent(report.edges_kept)],
    ["Edges that the photo does not have", percent(report.false_edges)],
    ["Shading kept (correlation)", number(report.shading, 2)],
  ];
  if (report.in_cell != null) figures.push(["Pixels nearest to their colour", percent(report.in_cell)]);
  if (report.drift != null) figures.push(["Drift elsewhere, ΔE mean", number(report.drift, 2)]);
  const list = make("dl", { className: "figures" });
  for (const [name, value] of figures) list.append(make("dt", {}, name), make("dd", {}, value));
  const parts = [list];
  if (report.entries.length) parts.push(entriesTable(report.entries));
  if (report.notes.length) {
    parts.push(make("ul", { className: "notes" }, ...report.notes.map((note) => make("li", {}, note))));
  }
  $("#table").replaceChildren(...parts);
}

function entriesTable(entries) {
  const dot = (color) => (color ? make("span", { className: "dot", title: color, style: { background: color } }) : "–");
  const celled = entries.some((one) => one.in_cell != null);
  const about = { ΔE: "CIEDE2000 between the colour asked for and the mean of its pixels; 1 is just visible", p95: "ΔE that 95% of the pixels are below" };
  const cells = (tag, values) =>
    values.map((value, i) =>
      make(tag, { className: i > 2 ? "number" : "", ...(tag === "th" ? { scope: "col", title: about[value] ?? "" } : {}) }, value),
    );
  const head = ["", "asked", "delivered", "ΔE", "p95", ...(celled ? ["in cell"] : []), "area"];
  const rows = entries.map((one) => {
    const area = one.share < 1e-4 ? "–" : `${(100 * one.share).toFixed(1)}%`;
    const cell = celled ? [percent(one.in_cell)] : [];
    const values = [dot(one.asked), dot(one.delivered), number(one.off), number(one.p95), ...cell, area];
    return make("tr", {}, ...cells("td", [one.name.replace("colour ", "").replace("region", "thing"), ...values]));
  });
  return make(
    "table",
    {},
    make("caption", { className: "hidden" }, "Colours asked for and delivered; ΔE is CIEDE2000"),
    make("thead", {}, make("tr", {}, ...cells("th", head))),
    make("tbody", {}, ...rows),
  );
}

/** A name as a shell takes it. */
export const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) && !text.startsWith("-") ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** The line of `dequant` that makes the same picture; things have masks, so they are replayed from the recipe. */
export function command(edit, name, stem) {
  const file = quoted(name.startsWith("-") ? `./${name}` : name);
  if (edit.things.length) return `dequant replay ${quoted(`${stem}.dequant.yaml`)} ${file}`;
  const parts = ["dequant repaint", file, "-n", String(edit.n)];
  for (const [from, to] of Object.entries(edit.swaps)) parts.push("--pin-color", `'${from}=${to}'`);
  for (const { x, y, color } of edit.pins) parts.push("--pin", `'${x},${y}=${color}'`);
  if (edit.way !== "change") parts.push("--way", edit.way);
  if (edit.luminance !== "texture") parts.push("--luminance", edit.luminance);
  if (edit.keep_palette !== "off") parts.push("--keep-palette", edit.keep_palette);
  if (edit.steps) parts.push("--steps", String(edit.steps));
  return parts.join(" ");
}

/** Gives a file to the browser's downloads. */
export function deliver(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Downloads of a studio. */
export class Output {
  constructor(studio) {
    this.studio = studio;
    const ids = ["download", "recipe", "lut", "copy", "adopt"];
    for (const id of ids) $(`#${id}`)?.addEventListener("click", () => trying(() => this[id]()));
  }

  get stem() {
    return this.studio.photo.name.replace(/\.[^.]*$/, "") || "photo";
  }

  /** What can be done with what there is. */
  enable(hasResult) {
    for (const id of ["download", "recipe", "lut", "copy", "adopt"]) $(`#${id}`).disabled = !hasResult;
  }

  async download() {
    const result = await this.studio.whole();
    if (!result) return;
    const format = $("#format").value;
    say("Writing the file ...");
    deliver(await getBlob(`/v1/results/${result.id}.${format}`), `${this.stem}.dequant.${format}`);
    say(`${this.stem}.dequant.${format} is in your downloads.`);
  }

  async recipe() {
    const result = await this.studio.whole();
    if (!result) return;
    deliver(new Blob([result.recipe], { type: "application/yaml" }), `${this.stem}.dequant.yaml`);
    say(`The recipe is in your downloads. dequant replay ${this.stem}.dequant.yaml ${this.studio.photo.name} repeats the edit.`);
  }

  async lut() {
    const result = await this.studio.whole();
    if (!result) return;
    say("Fitting a table of colours ...");
    const answer = await fetch(`/v1/results/${result.id}/lut.cube?photo=${this.studio.photo.id}`);
    if (!answer.ok) return say((await answer.json()).error, "error");
    const missing = Number(answer.headers.get("X-Residual-Share"));
    deliver(await answer.blob(), `${this.stem}.dequant.cube`);
    say(`The LUT is in your downloads. It cannot carry ${percent(missing)} of the edit.`);
  }

  async copy() {
    const { photo, history, result, colorize } = this.studio;
    const isColored = result.operation !== "repaint";
    const replayed = `dequant replay ${quoted(`${this.stem}.dequant.yaml`)} ${quoted(photo.name)}`;
    const line = (isColored ? colorize.command(result, photo.name, quoted) : command(history.now, photo.name, this.stem)) ?? replayed;
    try {
      await navigator.clipboard.writeText(line);
    } catch {
      return say(`This browser lets the page copy nothing. The command: ${line}`, "error");
    }
    return say(line.startsWith("dequant replay") ? `Copied: ${line} (download the recipe for it)` : `Copied: ${line}`);
  }

  /** Makes the picture the photo of the next edit. */
  async adopt() {
    const result = await this.studio.whole();
    if (!result) return;
    const blob = await getBlob(`/v1/results/${result.id}.png`);
    await this.studio.open(new File([blob], `${this.stem}.dequant.png`, { type: "image/png" }));
  }
}

/** Fills the bar as time goes, by how long such work took before, until the server says more. */
export class Progress {
  constructor() {
    this.took = JSON.parse(localStorage.getItem("dequant.took") ?? "{}");
  }

  /** `operation` names what takes equally long. */
  start(operation, what) {
    [this.operation, this.what, this.work, this.begun] = [operation, what, what, performance.now()];
    this.left = null;
    this.timer = setInterval(() => this._tick(), 500);
    this._tick();
  }

  /** The server knows better. */
  tell(share, left, what = this.what) {
    this.what = what;
    this.left = { share, left, at: performance.now() };
    this._tick();
  }

  wait(place) {
    const what = `Waiting: ${place === 1 ? "one piece of work is" : `${place} pieces of work are`} ahead`;
    if (place > 0) this.tell(0, (place + 1) * (this.took[this.operation] ?? USUAL), what); // as if all took equally long
    else {
      this.left = null;
      this.begun = performance.now();
      this.what = this.work;
    }
  }

  stop(finished) {
    clearInterval(this.timer);
    if (finished) {
      this.took[this.operation] = (performance.now() - this.begun) / 1000;
      localStorage.setItem("dequant.took", JSON.stringify(this.took));
    }
    this._show(0);
  }

  _tick() {
    const usual = this.took[this.operation] ?? USUAL;
    const passed = (performance.now() - this.begun) / 1000;
    let [share, left] = [Math.min(0.95, passed / usual), usual - passed];
    if (this.left) {
      const since = (performance.now() - this.left.at) / 1000;
      share = this.left.share;
      left = this.left.left === null ? null : this.left.left - since;
    }
    this._show(100 * share);
    const rest = left === null ? "" : left > 0.5 ? `, about ${seconds(left)} left` : ", almost done";
    say(`${this.what}${rest}`, "progress");
  }

  _show(value) {
    $("#bar").style.width = `${value}%`;
    $("#bar").setAttribute("aria-valuenow", String(Math.round(value)));
  }
}
