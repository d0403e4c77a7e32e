// Small helpers around the document.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** An element with properties and children; `on` holds listeners, names with a dash are attributes. */
export function make(tag, properties = {}, ...children) {
  const { on = {}, style = {}, ...rest } = properties;
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  for (const [name, value] of Object.entries(style)) element.style.setProperty(name, value);
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children);
  return element;
}

const READ = 6000; // milliseconds in which an error can be read before the progress of work takes its place

let refused = -READ;

/** Says something to those who see and to those who hear: a status, an error, or the progress of work. */
export function say(text, kind = "status") {
  const place = $("#said");
  if (kind === "error") refused = performance.now();
  if (kind === "progress" && performance.now() - refused < READ) return;
  place.textContent = text;
  place.dataset.kind = kind;
  place.setAttribute("role", kind === "error" ? "alert" : "status");
}

/** Runs something asynchronous, and says what went wrong with it in plain words. */
export async function trying(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    say(error.status === undefined ? `The page failed: ${error.message}` : error.message, "error");
    if (error.status === undefined) console.error(error);
    return undefined;
  }
}

/** Calls a function once things have been quiet for so many milliseconds. */
export function quiet(milliseconds, work) {
  let timer;
  const later = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds, ...given);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** Moves focus with the arrow keys inside of a group of which one element is in the tab order. */
export function roving(group, selector) {
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const all = $$(selector, group);
    const at = all.indexOf(document.activeElement);
    if (at < 0 || (!step && event.key !== "Home" && event.key !== "End")) return;
    event.preventDefault();
    const next = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : (at + step + all.length) % all.length;
    all.forEach((one) => (one.tabIndex = -1));
    all[next].tabIndex = 0;
    all[next].focus();
    all[next].click();
  });
}

export const seconds = (value) => (value < 90 ? `${Math.max(1, Math.round(value))} s` : `${Math.round(value / 60)} min`);
