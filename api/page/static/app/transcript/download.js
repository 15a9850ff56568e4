/** The transcript as a file: in which format, how it looks, and a look at it before. */

import { send, url } from "../core/api.js";
import { fill, h, icon } from "../core/dom.js";
import { recall, remember } from "../core/memory.js";
import { named, t } from "../core/words.js";

/** Which format has which look; the service refuses others. */
const CUES = ["srt", "vtt", "ass"];
const NAMES = ["txt", "md", ...CUES];
/** @type {Record<string, string[]>} */
const TAKES = { max_line_width: CUES, max_lines: CUES, max_chars_per_second: CUES, word_cues: ["vtt", "ass"], speakers: [...NAMES, "csv"], translation: NAMES };
/** Letters of a preview. */
const GLANCE = 900;

export class Download {
  /**
   * @param {{ transcript: import("./model.js").Transcript, player: import("./player.js").Player, formats: string[], signal: AbortSignal }} room
   */
  constructor({ transcript, player, formats, signal }) {
    this.path = `jobs/${transcript.jobId}/result`;
    this.transcript = transcript;
    this.player = player;
    this.signal = signal;
    const { speakers, segments } = transcript;
    /** @type {Record<string, string>} */
    this.looks = recall("looks", { format: "srt" });
    const has = {
      speakers: speakers !== null || segments.some(({ channel }) => channel !== null),
      translation: segments.some((segment) => segment.translation),
      word_cues: segments.some(({ words }) => words?.length),
    };
    const possible = formats.filter((name) => speakers !== null || !["diarized_json", "rttm"].includes(name));
    /** @type {Record<string, HTMLElement>} */
    this.fields = {
      format: this.choice("format", possible.map((name) => [name, named("transcript", `as_${name}`, name.replace("_", " ").toUpperCase())])),
      max_line_width: this.amount("max_line_width", 42, 10, 200),
      max_lines: this.amount("max_lines", 2, 1, 5),
      max_chars_per_second: this.amount("max_chars_per_second", 20, 1, 100),
    };
    if (has.speakers) this.fields.speakers = this.choice("speakers", ["auto", "prefix", "none"].map((name) => [name, named("transcript", `names_${name}`)]));
    if (has.translation) this.fields.translation = this.choice("translation", ["none", "only", "both"].map((name) => [name, named("transcript", `translation_${name}`)]));
    if (has.word_cues) this.fields.word_cues = this.choice("word_cues", ["", "true"].map((name) => [name, t(name ? "transcript.yes" : "transcript.no")]));
    this.preview = h("pre", { class: "preview", dir: "auto", tabIndex: 0, "aria-label": t("transcript.preview") });
    this.link = h("a", { class: "button main", download: "" }, icon("down"), t("transcript.download"));
    this.element = h("section", { class: "card download", hidden: true, "aria-label": t("transcript.download") }, h("div", { class: "looks" }, Object.values(this.fields), this.link), this.preview);
    this.button = h("button", { type: "button", class: "button main", "aria-expanded": "false", onclick: () => this.open() }, icon("down"), t("transcript.download"));
    transcript.addEventListener("change", () => this.changed(), { signal });
    this.changed();
  }

  open() {
    this.element.hidden = !this.element.hidden;
    this.button.ariaExpanded = String(!this.element.hidden);
    this.changed();
  }

  /**
   * @param {string} name
   * @param {[string, string][]} choices
   */
  choice(name, choices) {
    const select = h("select", { onchange: () => this.set(name, select.value) }, choices.map(([value, text]) => h("option", { value }, text)));
    select.value = this.looks[name] ?? choices[0][0];
    if (select.selectedIndex < 0) select.selectedIndex = 0;
    return h("label", { class: "field" }, h("span", {}, named("transcript", `look_${name}`)), select);
  }

  /**
   * @param {string} name
   * @param {number} otherwise
   * @param {number} min
   * @param {number} max
   */
  amount(name, otherwise, min, max) {
    const input = h("input", { type: "number", min: String(min), max: String(max), value: this.looks[name] ?? String(otherwise), oninput: () => input.checkValidity() && input.value && this.set(name, input.value) });
    return h("label", { class: "field" }, h("span", {}, named("transcript", `look_${name}`)), input);
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  set(name, value) {
    this.looks = { ...this.looks, [name]: value };
    remember("looks", this.looks);
    this.changed();
  }

  /** @param {string} format @returns {Record<string, string>} */
  query(format) {
    const looks = Object.entries(this.looks).filter(([name]) => name in this.fields && TAKES[name]?.includes(format));
    return { format, ...Object.fromEntries(looks) };
  }

  /** A while after the last change, and only for who looks. */
  changed() {
    const select = this.fields.format.querySelector("select");
    const format = select?.value ?? "txt";
    for (const [name, field] of Object.entries(this.fields)) field.hidden = name !== "format" && !TAKES[name].includes(format);
    this.link.href = url(this.path, this.query(format));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(format), 250);
  }

  /** @param {string} format */
  async look(format) {
    this.looking?.abort();
    const { signal } = (this.looking = new AbortController());
    try {
      if (!this.element.hidden) this.preview.textContent = await this.begin(format, signal);
      if (this.player.isVideo) this.player.subtitles(await (await send("GET", this.path, { query: this.query("vtt"), signal })).blob());
    } catch (error) {
      if (!signal.aborted && !this.signal.aborted) fill(this.preview, error instanceof Error ? error.message : String(error));
    }
  }

  /**
   * The first lines; a whole one may have megabytes.
   * @param {string} format
   * @param {AbortSignal} signal
   */
  async begin(format, signal) {
    const { body } = await send("GET", this.path, { query: this.query(format), signal });
    let text = "";
    if (body) {
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done && text.length < GLANCE; part = await reader.read()) text += part.value;
      void reader.cancel();
    }
    return text.length > GLANCE ? `${text.slice(0, GLANCE)}…` : text;
  }
}
