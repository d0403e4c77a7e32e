// Buttons, keys, drops and pastes of the page.

import { $, $$, say, trying } from "./dom.js";

/** Connects the page with a studio. */
export function listen(studio) {
  const { stage, history } = studio;
  const files = $("#file");
  const choose = () => files.click();
  $("#open").addEventListener("click", choose);
  $("#open-too").addEventListener("click", choose);
  files.addEventListener("change", () => {
    const [file] = files.files;
    files.value = "";
    if (file) studio.open(file);
  });

  $("#undo").addEventListener("click", () => history.undo());
  $("#redo").addEventListener("click", () => history.redo());
  $("#draw").addEventListener("click", () => studio.draw());
  $("#stop").addEventListener("click", () => studio.stop());
  $("#pin").addEventListener("click", () => studio.setMode(studio.mode === "pin" ? null : "pin"));
  $("#dropper").addEventListener("click", () => studio.setMode(studio.mode === "pick" ? null : "pick"));
  $("#help").addEventListener("click", () => $("#keys").showModal());

  const how = (part) => history.change(part);
  $("#way").addEventListener("change", (event) => how({ way: event.target.value }));
  $("#luminance").addEventListener("change", (event) => how({ luminance: event.target.value }));
  $("#keep").addEventListener("change", (event) => how({ keep_palette: event.target.value }));
  $("#steps").addEventListener("change", (event) => {
    const field = event.target;
    if (field.checkValidity()) return how({ steps: Number(field.value) || null });
    field.value = history.now.steps ?? "";
    return say(`Steps are a whole number from ${field.min} to ${field.max}; leave it empty for the usual one.`, "error");
  });

  $("#split").addEventListener("input", (event) => stage.split(event.target.value));
  for (const one of $$("input[name='mode']")) one.addEventListener("change", () => stage.compare(one.value));
  $("#in").addEventListener("click", () => stage.zoomBy(1.4));
  $("#out").addEventListener("click", () => stage.zoomBy(1 / 1.4));
  $("#fit").addEventListener("click", () => stage.fit());
  $("#one").addEventListener("click", () => stage.zoomBy(0));
  const blink = $("#blink");
  blink.addEventListener("pointerdown", () => stage.blink(true));
  for (const end of ["pointerup", "pointerleave", "blur"]) blink.addEventListener(end, () => stage.blink(false));
  blink.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && stage.blink(true));
  blink.addEventListener("keyup", () => stage.blink(false));
  $("#edges-on").addEventListener("click", (event) => {
    const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
    event.currentTarget.setAttribute("aria-pressed", String(on));
    trying(() => studio.showEdges(on));
  });
  $("#theme").addEventListener("click", () => {
    theme(document.documentElement.dataset.theme === "light" ? "dark" : "light");
    localStorage.setItem("dequant.theme", document.documentElement.dataset.theme);
  });

  dropsAndPastes(studio);
  document.addEventListener("keydown", (event) => key(event, studio, choose));
  document.addEventListener("keyup", (event) => event.key.toLowerCase() === "b" && stage.blink(false));
  theme(localStorage.getItem("dequant.theme") ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
}

function theme(name) {
  document.documentElement.dataset.theme = name;
}

function dropsAndPastes(studio) {
  const shade = $("#drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    shade.hidden = false;
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && (shade.hidden = true));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    shade.hidden = true;
    const [file] = event.dataTransfer.files;
    if (file) studio.open(file);
    else say("That was no file: drop a photo.", "error");
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) studio.open(file);
  });
}

const isTyping = (target) => target.matches("input[type='text'], input[type='number'], textarea, select");

function key(event, studio, choose) {
  const { stage, history, palettes } = studio;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if ((event.ctrlKey || event.metaKey) && !event.altKey) {
    const commands = { z: () => (event.shiftKey ? history.redo() : history.undo()), y: () => history.redo(), s: () => $("#download").click() };
    if (!commands[name] || (isTyping(event.target) && name !== "s")) return;
    event.preventDefault();
    commands[name]();
    return;
  }
  if (event.altKey && "1234".includes(name)) {
    event.preventDefault();
    studio.show(["palette", "things", "colorize", "report"][Number(name) - 1]);
    $("[role='tab'][aria-selected='true']").focus();
    return;
  }
  if (name === "Escape") {
    if (studio.running) studio.stop();
    else studio.setMode(null);
    return;
  }
  if (event.altKey || isTyping(event.target) || $("#keys").open) return;
  const isThing = studio.tab === "things" && studio.things.chosen;
  const commands = {
    o: choose,
    g: () => studio.draw(),
    b: () => stage.blink(true),
    p: () => $("#pin").click(),
    i: () => $("#dropper").click(),
    l: () => palettes.lock(),
    r: () => palettes.chosen !== null && palettes.give(palettes.chosen),
    0: () => stage.fit(),
    1: () => stage.zoomBy(0),
    "+": () => (isThing ? studio.things.grow(1) : stage.zoomBy(1.4)),
    "=": () => (isThing ? studio.things.grow(1) : stage.zoomBy(1.4)),
    "-": () => (isThing ? studio.things.grow(-1) : stage.zoomBy(1 / 1.4)),
    "?": () => $("#keys").showModal(),
  };
  if (!commands[name]) return;
  event.preventDefault();
  commands[name]();
}
