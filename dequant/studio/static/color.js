// Colours: sRGB bytes, hex, names, and OKLCH (Ottosson, "A perceptual color space for image processing", 2020).

const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const gamma = (v) => (v <= 0.0031308 ? 12.92 * v : 1.055 * v ** (1 / 2.4) - 0.055);

/** "#rrggbb" of three bytes. */
export function toHex([r, g, b]) {
  return `#${[r, g, b].map((v) => Math.round(v).toString(16).padStart(2, "0")).join("")}`;
}

/** Three bytes of "#rrggbb". */
export function toBytes(hex) {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

/** "#rrggbb" of whatever CSS takes for an opaque colour: hex with or without #, a name, rgb(), oklch(). Null for others. */
export function parse(text) {
  const given = text.trim();
  const wanted = /^([0-9a-f]{3}|[0-9a-f]{6})$/i.test(given) ? `#${given}` : given;
  const isClosed = (wanted.match(/\(/g) ?? []).length === (wanted.match(/\)/g) ?? []).length; // browsers close them
  if (!wanted || !isClosed || !CSS.supports("color", wanted) || /^(inherit|initial|unset|revert|currentcolor|transparent)/i.test(wanted)) {
    return null;
  }
  probe.clearRect(0, 0, 1, 1);
  probe.fillStyle = wanted;
  probe.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data;
  return a === 255 ? toHex([r, g, b]) : null;
}

/** OKLCH of "#rrggbb": lightness 0 to 1, chroma, hue in degrees. */
export function toOklch(hex) {
  const [r, g, b] = toBytes(hex).map((v) => linear(v / 255));
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  const light = 0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s;
  const a = 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s;
  const c = 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s;
  return [light, Math.hypot(a, c), (Math.atan2(c, a) * 180) / Math.PI + (c < 0 ? 360 : 0)];
}

function unclipped([light, chroma, hue]) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

/** "#rrggbb" of OKLCH; what sRGB does not have loses chroma, and keeps lightness and hue. */
export function fromOklch([light, chroma, hue]) {
  const fits = (rgb) => rgb.every((v) => v > -1e-4 && v < 1 + 1e-4);
  let [low, high] = [0, chroma];
  if (!fits(unclipped([light, chroma, hue]))) {
    for (let i = 0; i < 16; i++) {
      const middle = (low + high) / 2;
      if (fits(unclipped([light, middle, hue]))) low = middle;
      else high = middle;
    }
  } else {
    low = chroma;
  }
  const rgb = unclipped([light, low, hue]).map((v) => 255 * gamma(Math.min(1, Math.max(0, v))));
  return toHex(rgb.map((v) => Math.min(255, Math.max(0, v))));
}

/** Words for a colour, for those who hear the page: "dark vivid blue". */
export function describe(hex) {
  const [light, chroma, hue] = toOklch(hex);
  const tone = light < 0.35 ? "dark" : light > 0.8 ? "light" : "medium";
  if (chroma < 0.025) return light < 0.15 ? "black" : light > 0.96 ? "white" : `${tone} grey`;
  const names = ["pink", "red", "orange", "yellow", "yellow-green", "green", "teal", "cyan", "blue", "blue", "violet", "magenta"];
  return `${tone} ${chroma > 0.14 ? "vivid " : chroma < 0.06 ? "dull " : ""}${names[Math.round(hue / 30) % 12]}`;
}

/** Black or white, whichever is easier to read on a colour. */
export function inkOn(hex) {
  return toOklch(hex)[0] > 0.62 ? "#000000" : "#ffffff";
}
