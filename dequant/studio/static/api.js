// The JSON API of the server that this page comes from. Nothing else is ever called.

/** What a request was refused with: one sentence for people. */
export class Refusal extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

const AWAY = "The server does not answer: is dequant studio still running?";

async function send(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(AWAY, 0);
  }
  if (answer.ok) return answer;
  let sentence = `The server refused this (${answer.status}).`;
  try {
    sentence = (await answer.json()).error ?? sentence;
  } catch {
    // a body without a sentence
  }
  throw new Refusal(sentence, answer.status);
}

const asked = (parameters) => new URLSearchParams(Object.entries(parameters).filter(([, value]) => value != null));

export const getJson = async (path, parameters = {}, signal) =>
  (await send(`${path}?${asked(parameters)}`, { signal })).json();

export const getBytes = async (path, parameters = {}, signal) =>
  new Uint8Array(await (await send(`${path}?${asked(parameters)}`, { signal })).arrayBuffer());

export const getBlob = async (path, parameters = {}, signal) =>
  (await send(`${path}?${asked(parameters)}`, { signal })).blob();

export const postBytes = async (path, body, parameters = {}) =>
  (await send(`${path}?${asked(parameters)}`, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } })).json();

let uploaded = Promise.resolve();

/** Uploads photos one after another: the answer to the first sets the cookie of the session that all of them belong to. */
export function postPhoto(file, parameters) {
  const answer = uploaded.then(() => postBytes("/v1/photos", file, parameters));
  uploaded = answer.catch(() => undefined);
  return answer;
}

const json = (body, signal, accept) => ({
  method: "POST",
  body: JSON.stringify(body),
  headers: { "Content-Type": "application/json", Accept: accept },
  signal,
});

export async function postJson(path, body, signal) {
  const answer = await send(path, json(body, signal, "application/json"));
  return answer.status === 204 ? null : answer.json();
}

export const remove = (path) => send(path, { method: "DELETE" });

/** Asks for an edit and follows it. `seen(name, data)` gets each event; the answer is that of "done". */
export async function follow(path, body, seen, signal) {
  const answer = await send(path, json(body, signal, "text/event-stream"));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let result;
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(AWAY, 0);
    }
    if (part.done && result) return result;
    if (part.done) throw new Refusal(AWAY, 0);
    rest += part.value;
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)?.[1];
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (!name) continue;
      const told = JSON.parse(data);
      if (name === "error") throw new Refusal(told.error, told.status);
      if (name === "done") result = told;
      else seen(name, told);
    }
  }
}

/** A picture of bytes in base64 or of a blob, ready to be drawn, whatever profile or orientation it might claim. */
export async function bitmap(picture, type = "image/jpeg") {
  const blob =
    typeof picture === "string" ? new Blob([Uint8Array.from(atob(picture), (c) => c.charCodeAt(0))], { type }) : picture;
  return createImageBitmap(blob, { colorSpaceConversion: "none", imageOrientation: "none" });
}
