/** How loud it is over time, who speaks when, and where something is missing; the place where one jumps. */

import { ask } from "../core/api.js";
import { h } from "../core/dom.js";
import { clock, t } from "../core/words.js";
import { patiently } from "./patience.js";
import { voiceOf } from "./row.js";

/** CSS pixels of a bar and its gap. */
const BAR = 3;

export class Wave {
  /**
   * @param {import("./player.js").Player} player
   * @param {import("./model.js").Transcript} transcript
   * @param {string} jobId
   * @param {AbortSignal} signal
   */
  constructor(player, transcript, jobId, signal) {
    this.player = player;
    this.transcript = transcript;
    /** @type {number[]} */
    this.peaks = [];
    this.rest = h("canvas", { class: "rest" });
    this.played = h("canvas", { class: "played" });
    this.hover = h("span", { class: "hover numbers", hidden: true });
    this.probe = h("i");
    this.element = h(
      "div",
      { class: "wave", role: "slider", tabIndex: 0, "aria-label": t("player.place"), "aria-valuemin": 0, "aria-valuemax": Math.round(player.duration) },
      this.rest, this.played, h("span", { class: "head" }), this.hover, this.probe,
    );
    this.point();
    this.element.addEventListener("keydown", (event) => this.key(event));
    const sizes = new ResizeObserver(() => this.draw());
    sizes.observe(this.element);
    const theme = new MutationObserver(() => this.draw());
    theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(), { signal });
    let asked = 0;
    transcript.addEventListener("change", () => (asked ||= requestAnimationFrame(() => ((asked = 0), this.draw()))), { signal });
    signal.addEventListener("abort", () => (sizes.disconnect(), theme.disconnect()));
    void this.load(jobId, signal);
  }

  /**
   * @param {string} jobId
   * @param {AbortSignal} signal
   */
  async load(jobId, signal) {
    const peaks = () => ask("GET", `jobs/${jobId}/peaks`, { query: { points: 1500 }, signal });
    // without the recording there are still the segments to be seen
    this.peaks = (await patiently(peaks, signal).catch(() => null))?.peaks ?? [];
    this.draw();
  }

  point() {
    const { element, player } = this;
    const at = (/** @type {PointerEvent} */ event) => {
      const { left, width } = element.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - left) / width)) * player.duration;
    };
    element.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      element.setPointerCapture(event.pointerId);
      player.seek(at(event));
    });
    element.addEventListener("pointermove", (event) => {
      this.hover.hidden = false;
      this.hover.textContent = clock(at(event));
      this.hover.style.setProperty("left", `${(100 * at(event)) / (player.duration || 1)}%`);
      if (element.hasPointerCapture(event.pointerId)) player.seek(at(event));
    });
    element.addEventListener("pointerleave", () => (this.hover.hidden = true));
  }

  /** @param {KeyboardEvent} event what a slider has; the arrows are the whole page's */
  key(event) {
    const { time, duration } = this.player;
    const to = { Home: 0, End: duration, PageUp: time + 30, PageDown: time - 30 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.player.seek(to);
  }

  /** @param {number} seconds */
  move(seconds) {
    this.element.style.setProperty("--at", `${(100 * seconds) / (this.player.duration || 1)}%`);
    const whole = String(Math.round(seconds));
    if (this.element.ariaValueNow === whole) return;
    this.element.ariaValueNow = whole;
    this.element.ariaValueText = t("player.of", { time: clock(seconds), length: clock(this.player.duration) });
  }

  /** @param {string} color as CSS has it, by names of the styles @returns {string} as a canvas wants it */
  color(color) {
    this.probe.style.setProperty("color", color);
    return getComputedStyle(this.probe).color;
  }

  /** Once for a size, a theme, a text: while it plays only the edge between the two canvases moves. */
  draw() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const { duration } = this.player;
    const pen = this.rest.getContext("2d");
    if (!width || !pen || !duration) return;
    const scale = devicePixelRatio;
    for (const canvas of [this.rest, this.played]) Object.assign(canvas, { width: width * scale, height: height * scale });
    pen.scale(scale, scale);
    const bars = Math.floor(width / BAR);
    const place = (/** @type {number} */ seconds) => Math.max(0, Math.min(bars - 1, Math.floor((seconds / duration) * bars)));
    const owner = new Int8Array(bars).fill(-2);
    for (const segment of this.transcript.segments) owner.fill(voiceOf(this.transcript, segment), place(segment.start), place(segment.end) + 1);
    const colors = new Map([...new Set(owner)].map((voice) => [voice, this.color(voice === -2 ? "var(--line)" : voice < 0 ? "var(--accent)" : `var(--voice-${voice})`)]));
    const most = Math.max(0.05, ...this.peaks);
    for (let bar = 0; bar < bars; bar++) {
      const from = Math.floor((bar / bars) * this.peaks.length);
      const loud = Math.max(0, ...this.peaks.slice(from, Math.max(from + 1, Math.floor(((bar + 1) / bars) * this.peaks.length)))) / most;
      // the ear's way: half as strong sounds like more than half
      const tall = Math.max(2, loud ** 0.7 * (height - 8));
      pen.fillStyle = colors.get(owner[bar]) ?? "";
      pen.beginPath();
      pen.roundRect(bar * BAR, (height - tall) / 2, BAR - 1, tall, 1);
      pen.fill();
    }
    pen.fillStyle = this.color("var(--doubt)");
    for (const { start, end } of this.transcript.gaps) {
      const left = (start / duration) * width;
      const wide = Math.max(4, ((end - start) / duration) * width);
      pen.fillRect(left, 0, wide, 3);
      pen.fillRect(left, height - 3, wide, 3);
      for (let x = left; x < left + wide; x += 5) pen.fillRect(x, 0, 1, height);
    }
    this.played.getContext("2d")?.drawImage(this.rest, 0, 0);
  }
}
