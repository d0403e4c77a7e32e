// Colour for grey photos: words, regions that can be read and changed, and a tuning whose losses are drawn as they fall.

import { postJson } from "./api.js";
import { $, $$, make, say, trying } from "./dom.js";

const COLORS = ["#f0a35e", "#5aa9e6", "#9bc53d"];

/** The panel of a studio. */
export class ColorizePanel {
  constructor(studio) {
    this.studio = studio;
    this.regions = null;
    this.series = {};
    this._listen();
    this._show();
  }

  open() {
    this.regions = null;
    $("#regions").replaceChildren();
    $("#losses").hidden = true;
  }

  get method() {
    return $("#method").value;
  }

  _show() {
    const isTuned = this.method === "diffcolor";
    $("#words").placeholder = isTuned ? "a dog on a bench" : "a red shirt on green";
    $("#edit-words").placeholder = "a brown dog on a black bench";
    for (const one of $$("[data-for]")) one.hidden = one.dataset.for !== this.method;
    $("#scale-shown").textContent = $("#auto").checked ? "auto" : Number($("#scale").value).toFixed(2);
    $("#strength-shown").textContent = Number($("#strength").value).toFixed(2);
    $("label[for='words']").textContent = isTuned ? "What it shows, without colours" : "What it shows, and in which colours";
  }

  /** The operation and the body of a request. */
  asked() {
    const words = $("#words").value.trim();
    const scale = $("#auto").checked ? "auto" : Number($("#scale").value);
    const settings = { seed: this.studio.photo.seed };
    if (this.method === "diffcolor") {
      const edit = $("#edit-words").value.trim() || null;
      const strength = Number($("#strength").value);
      return ["diffcolor", { prompt: words || null, edit, strength, scale, mode: $("#mode-of").value, settings }];
    }
    const body = { prompt: words || (this.method === "semantic" ? null : ""), scale, settings: { ...settings, weights: this.method } };
    if (this.method === "semantic" && this.regions) {
      const regions = this.regions.filter((one) => one.text.trim());
      Object.assign(body, { prompt: words, regions: regions.map((one) => ({ text: one.text, area: one.mask })) });
    }
    return ["colorize", body];
  }

  /** The command that makes a colorization, as far as one line can say it. */
  command({ operation, body }, name, quoted) {
    if (body.regions) return null;
    const parts = ["dequant colorize", quoted(name), "--method", body.settings.weights ?? operation];
    if (body.prompt) parts.push("--prompt", quoted(body.prompt));
    if (body.scale !== 1) parts.push("--scale", String(body.scale));
    if (operation === "diffcolor") {
      if (body.mode !== "attention") parts.push("--mode", body.mode);
      if (body.edit) parts.push("--edit", quoted(body.edit), "--strength", String(body.strength));
    }
    return parts.join(" ");
  }

  /** One event of a tuning: the losses of its stage. */
  losses({ stage, step, of, losses }) {
    if (step <= 1) this.series = {};
    for (const [name, value] of Object.entries(losses)) (this.series[name] ??= []).push([step, value]);
    const figure = $("#losses");
    figure.hidden = false;
    const latest = Object.entries(losses).map(([name, value]) => `${name} ${value.toFixed(3)}`);
    $("figcaption", figure).textContent = `${stage}, step ${step} of ${of}: ${latest.join(", ")}`;
    this._draw($("canvas", figure), of);
  }

  /** Each loss from its own least to its own largest value, with its name. */
  _draw(canvas, of) {
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    context.clearRect(0, 0, width, height);
    context.font = "20px system-ui, sans-serif";
    Object.entries(this.series).forEach(([name, points], i) => {
      const values = points.map(([, value]) => value);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      context.strokeStyle = context.fillStyle = COLORS[i % COLORS.length];
      context.lineWidth = 3;
      context.beginPath();
      points.forEach(([step, value]) => {
        const share = high > low ? (value - low) / (high - low) : 0.5;
        context.lineTo(10 + ((width - 20) * step) / of, height - 12 - (height - 60) * share);
      });
      context.stroke();
      context.fillText(`${name}: ${high.toFixed(3)} to ${low.toFixed(3)}`, 12 + i * (width / 2), 26);
    });
  }

  async _read() {
    const { photo } = this.studio;
    if (!photo) return say("Open a photo first.", "error");
    say("Reading what the photo shows ...");
    const found = await postJson(`/v1/photos/${photo.live.id}/reading`, {});
    $("#words").value = found.caption;
    this.regions = found.regions;
    $("#regions").replaceChildren(
      ...found.regions.map((one, i) =>
        make(
          "li",
          {},
          this._picture(one.mask),
          make("input", {
            type: "text",
            value: one.text,
            "aria-label": `What region ${i + 1} shows`,
            on: { input: (event) => (one.text = event.target.value) },
          }),
          make(
            "button",
            {
              type: "button",
              on: {
                click: (event) => {
                  this.regions = this.regions.filter((other) => other !== one);
                  event.target.closest("li").remove();
                },
              },
            },
            "Remove",
          ),
        ),
      ),
    );
    return say(found.regions.length ? "Change the words as you like, then colorize." : "Nothing was recognized: say what it shows.");
  }

  _picture(mask) {
    const canvas = make("canvas");
    trying(async () => {
      const bytes = Uint8Array.from(atob(mask), (c) => c.charCodeAt(0));
      const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
      [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
    });
    return canvas;
  }

  _listen() {
    for (const one of ["#method", "#scale", "#auto", "#strength"]) $(one).addEventListener("input", () => this._show());
    $("#read").addEventListener("click", () => trying(() => this._read()));
    $("#color").addEventListener("click", () => this.studio.draw(...this.asked()));
    $("#edit-words").addEventListener("keydown", (event) => event.key === "Enter" && this.studio.draw(...this.asked()));
  }
}
