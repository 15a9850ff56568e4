/** Speak: text while somebody speaks, and a transcript when they have stopped. */

import { ApiError, ask } from "../core/api.js";
import { fill, h, icon } from "../core/dom.js";
import { features } from "../core/features.js";
import { recall, remember } from "../core/memory.js";
import { to } from "../core/router.js";
import { clock, named, t } from "../core/words.js";
import { byName, languageName, offer, targets } from "../upload/offer.js";
import { canCapture, canCaptureTabs, capture } from "./capture.js";
import { Stream } from "./stream.js";
import { liveText } from "./text.js";

/** @typedef {{ source: import("./capture.js").Source, language: string, model: string, translate_to: string, save: boolean, refine: boolean }} Wanted */

/** @type {Wanted} */
const USUAL = { source: "microphone", language: "", model: "", translate_to: "", save: true, refine: false };

/** @type {import("../core/router.js").Show} */
export async function show(main, place, signal) {
  main.append(h("h1", {}, t("place.live")));
  if (!canCapture()) return void main.append(hint(t("live.insecure"), t("live.insecure_hint")));
  const found = await features();
  if (signal.aborted) return;
  if (!found.live.available) {
    const again = () => (fill(main), show(main, place, signal));
    return void main.append(hint(t("live.off"), t("live.live_unavailable"), h("button", { type: "button", class: "button", onclick: again }, t("upload.again"))));
  }
  main.append(...board(signal));
}

/** @type {(title: string, text: string, more?: HTMLElement) => HTMLElement} */
const hint = (title, text, more) => h("section", { class: "empty" }, h("h2", {}, title), h("p", {}, text), more);

/** @param {AbortSignal} signal @returns {HTMLElement[]} */
function board(signal) {
  /** @type {Wanted} */
  const wanted = { ...USUAL, ...recall("live", {}) };
  const text = liveText();
  const saved = h("p", { class: "notice good", role: "status", hidden: true });
  const begin = h("button", { type: "button", class: "button main live-begin", onclick: pressed });
  const level = h("meter", { min: 0, max: 1, value: 0, "aria-label": t("live.level") });
  const time = h("span", { class: "numbers live-time", role: "timer" }, clock(0));
  const state = h("span", { class: "soft", role: "status" });
  const notice = h("p", { class: "notice bad", role: "alert", hidden: true });
  const form = h("fieldset", { class: "live-form card" });
  /** @type {{ stream: Stream, stop: () => Promise<void> } | null} */
  let running = null;
  let stopping = false;

  function draw() {
    fill(begin, icon(running ? "stop" : "microphone"), running ? t(stopping ? "live.stopping" : "live.stop") : t("live.start"));
    begin.classList.toggle("danger", running !== null);
    begin.classList.toggle("main", running === null);
    begin.disabled = stopping;
    form.hidden = running !== null; // nothing of it can be changed now, and a phone has room for little
    if (!running) level.value = 0;
  }

  async function pressed() {
    if (running) return stop();
    begin.disabled = true;
    notice.hidden = saved.hidden = true;
    try {
      await start();
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError) failed(error.code, error.message);
      else failed(error instanceof Error ? error.name : "", String(error));
    }
    draw();
  }

  async function start() {
    const made = await capture(wanted.source, stop);
    try {
      await ask("GET", "session", { signal }); // a socket that is refused cannot say why; what is said meanwhile is kept
    } catch (error) {
      await made.stop();
      throw error;
    }
    text.clear();
    const stream = new Stream(asked(made.rate));
    let samples = 0;
    made.listen((piece) => {
      level.value = loudness(piece);
      samples += piece.length;
      time.textContent = clock(samples / made.rate);
      stream.send(piece);
    });
    stream.addEventListener("message", (event) => event instanceof CustomEvent && heard(event.detail));
    stream.addEventListener("lost", () => (state.textContent = t("live.lost")));
    stream.addEventListener("closed", (event) => {
      void made.stop();
      if (event instanceof CustomEvent && event.detail.why && notice.hidden) failed(event.detail.why, t("live.ended"));
      running = null;
      stopping = false;
      state.textContent = "";
      draw();
    });
    const awake = navigator.wakeLock?.request("screen").catch(() => null); // a phone that goes to sleep does not listen
    stream.addEventListener("closed", async () => (await awake)?.release());
    running = { stream, stop: made.stop };
    state.textContent = t("live.connecting");
  }

  async function stop() {
    if (!running || stopping) return;
    const { stream } = running;
    stopping = true;
    draw();
    await running.stop();
    stream.end();
  }

  /** @param {number} rate */
  function asked(rate) {
    const { language, model, translate_to: target, save, refine } = wanted;
    return { sample_rate: rate, language: language || null, model: model || null, ...(target ? { translate_to: target } : {}), save, refine: save && refine };
  }

  /** @param {import("./stream.js").Message} message */
  function heard(message) {
    text.take(message);
    if (message.type === "ready") state.textContent = t("live.listening");
    if (message.type === "error") failed(message.code, message.message);
    if (message.type !== "end" || !message.job) return;
    fill(saved, t("live.saved"), " ", h("a", { href: to(["jobs", message.job]) }, t("live.open")));
    saved.hidden = false;
  }

  /** @param {string} code @param {string} otherwise */
  function failed(code, otherwise) {
    notice.textContent = named("live", code, named("error", code, otherwise));
    notice.hidden = false;
  }

  void offered(form, wanted, signal).catch(() => signal.aborted || failed("", t("option.away")));
  signal.addEventListener("abort", stop); // who leaves has stopped; what was said is kept
  addEventListener("beforeunload", (event) => running && event.preventDefault(), { signal });
  draw();
  return [form, h("div", { class: "row live-bar" }, begin, time, level, state), notice, saved, text.element];
}

/** Root mean square, on a scale that a quiet voice moves. @param {Int16Array} piece */
function loudness(piece) {
  let sum = 0;
  for (const value of piece) sum += (value / 32768) ** 2;
  return Math.min(1, 2 * Math.sqrt(Math.sqrt(sum / Math.max(1, piece.length))));
}

/** @param {HTMLFieldSetElement} form @param {Wanted} wanted @param {AbortSignal} signal */
async function offered(form, wanted, signal) {
  const found = await offer(signal);
  const { models, languages, options, usual } = found;
  const option = (/** @type {string} */ value, /** @type {string} */ text) => h("option", { value }, text);
  const each = (/** @type {string[]} */ codes) => byName(codes).map((code) => option(code, languageName(code)));

  /** @param {"language" | "model" | "translate_to" | "source"} name @param {HTMLOptionElement[]} choices */
  function list(name, choices) {
    const made = h("select", { onchange: () => keep(name, made.value) }, choices);
    made.value = wanted[name];
    if (made.selectedIndex < 0) made.selectedIndex = 0;
    return h("label", { class: "field" }, h("span", {}, t(`live.${name}`)), made);
  }

  const translation = h("div");
  function showTranslation() {
    const codes = targets(found, wanted.language, wanted.model || usual.model);
    if (!codes.includes(wanted.translate_to)) wanted.translate_to = "";
    translation.hidden = !codes.length || !options.includes("translate_to");
    fill(translation, list("translate_to", [option("", t("live.no_translation")), ...each(codes)]));
  }

  /** @param {"save" | "refine"} name */
  function check(name) {
    const made = h("input", { type: "checkbox", checked: wanted[name], onchange: () => keep(name, made.checked) });
    return h("label", { class: "check" }, made, h("span", {}, t(`live.${name}`)));
  }

  /** @param {keyof Wanted} name @param {string | boolean} value */
  function keep(name, value) {
    Object.assign(wanted, { [name]: value });
    if (name === "language" || name === "model") showTranslation();
    refine.hidden = !wanted.save;
    remember("live", wanted);
  }

  const refine = check("refine");
  refine.hidden = !wanted.save;
  showTranslation();
  fill(
    form,
    h("legend", { class: "visually-hidden" }, t("live.options")),
    canCaptureTabs() && list("source", [option("microphone", t("live.microphone")), option("tab", t("live.tab"))]),
    list("language", [option("", t("option.detect")), ...each(languages)]),
    list("model", [option("", t("live.usual")), ...models.filter(({ installed }) => installed).map(({ name }) => option(name, name))]),
    translation,
    h("div", { class: "live-checks" }, check("save"), refine),
  );
}
