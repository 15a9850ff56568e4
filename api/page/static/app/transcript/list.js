/** The segments on the page: only those around what is looked at are elements, so that ten hours scroll like ten minutes. */

import { h } from "../core/dom.js";
import { t } from "../core/words.js";
import { makeRow, updateRow } from "./row.js";

/** @typedef {import("./model.js").Segment} Segment */
/** @typedef {import("./model.js").Transcript} Transcript */

/** Pixels above and below the window that are there before they are seen: a swipe of a thumb. */
const AHEAD = 800;
/** Of a letter of running text, in ems: heights are guessed by it until they are measured. */
const LETTER = 0.5;

/**
 * Scrolls with the window. Rows are placed by sums of heights, guessed ones at first; when they are measured, what is
 * looked at stays where it is.
 * Events: `rowclick` (CustomEvent, detail: { key, index, target }), `render` (rows have come, gone or changed).
 */
export class SegmentList extends EventTarget {
  /**
   * @param {Transcript} transcript
   * @param {AbortSignal} signal
   */
  constructor(transcript, signal) {
    super();
    this.transcript = transcript;
    this.element = h("div", { class: "segments", role: "list", "aria-label": t("transcript.text") });
    /** @type {((row: HTMLElement, segment: Segment, body: HTMLElement) => boolean) | null} draws a row's body instead of us; true: it has */
    this.renderText = null;
    /** @type {Map<string, HTMLElement>} */
    this.rows = new Map();
    /** @type {Map<string, number>} */
    this.heights = new Map();
    /** @type {Map<string, number>} */
    this.places = new Map();
    this.tops = new Float64Array(1);
    this.stale = true;
    this.width = 0;
    /** What is at the upper edge of the window. @type {{ key: string, start: number, by: number } | null} */
    this.anchor = null;
    let asked = 0;
    addEventListener("scroll", () => (asked ||= requestAnimationFrame(() => ((asked = 0), this.render()))), { signal, passive: true });
    addEventListener("resize", () => this.render(), { signal });
    transcript.addEventListener("change", (event) => this.refresh(event instanceof CustomEvent ? event.detail : null), { signal });
    this.element.addEventListener("click", (event) => this.clicked(event));
    this.sizes = new ResizeObserver((entries) => this.resized(entries));
    this.sizes.observe(this.element);
    signal.addEventListener("abort", () => this.sizes.disconnect());
    this.refresh(null);
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const row = event.target instanceof Element && event.target.closest(".segment");
    if (!(row instanceof HTMLElement)) return;
    const key = row.dataset.key ?? "";
    this.dispatchEvent(new CustomEvent("rowclick", { detail: { key, index: this.places.get(key) ?? -1, target: event.target } }));
  }

  /** @param {string} key the row, while it is an element */
  rowOf(key) {
    return this.rows.get(key) ?? null;
  }

  /** @param {string[] | null} keys of segments whose content is another; null: any of them, or their order */
  refresh(keys) {
    if (keys === null) this.places = new Map(this.transcript.segments.map(({ key }, index) => [key, index]));
    // who speaks before says whether a row has its name
    const after = (keys ?? []).map((key) => this.transcript.segments[(this.places.get(key) ?? -2) + 1]?.key ?? "");
    for (const key of new Set([...(keys ?? this.rows.keys()), ...after])) {
      const row = this.rows.get(key);
      const index = this.places.get(key);
      if (row && index !== undefined) updateRow(row, this, index);
      if (keys !== null || index === undefined) this.heights.delete(key);
      if (row) this.measure(key, row);
    }
    this.stale = true;
    this.render();
  }

  /**
   * Brings a segment into the window.
   * @param {number} index
   * @param {{ focus?: boolean, smooth?: boolean }} [how]
   */
  scrollTo(index, { focus = false, smooth = false } = {}) {
    const { segments } = this.transcript;
    if (!segments[index]) return;
    const edge = this.edge;
    const goal = () => this.element.getBoundingClientRect().top + scrollY + this.tops[index] - edge - (innerHeight - edge) / 4;
    this.layout();
    // softly only downwards and near: rows that are measured above would stop it
    const way = goal() - scrollY;
    if (smooth && way > 0 && way < 1.5 * innerHeight) scrollTo({ top: goal(), behavior: "smooth" });
    else {
      // rows on the way are guesses: what is measured there moves the goal
      for (let round = 0; round < 3; round++) {
        scrollTo({ top: goal(), behavior: "instant" });
        this.render();
      }
    }
    if (focus) this.rowOf(segments[index].key)?.querySelector("button")?.focus({ preventScroll: true });
  }

  /** Where the window begins, below the bar at its head and the picture, in pixels. */
  get edge() {
    return 60 + (document.querySelector(".stage")?.clientHeight ?? 0);
  }

  /** @param {ResizeObserverEntry[]} entries */
  resized(entries) {
    if (this.element.clientWidth !== this.width) {
      this.width = this.element.clientWidth;
      this.heights.clear();
    }
    for (const { target } of entries) {
      if (target instanceof HTMLElement && target.dataset.key) this.measure(target.dataset.key, target);
    }
    this.stale = true;
    this.render();
  }

  /**
   * @param {string} key
   * @param {HTMLElement} row
   */
  measure(key, row) {
    const height = row.offsetHeight;
    if (!height || height === this.heights.get(key)) return;
    this.heights.set(key, height);
    this.stale = true;
  }

  /** Sums up heights; then what is at the edge is moved back there. */
  layout() {
    if (!this.stale) return;
    this.stale = false;
    const { segments } = this.transcript;
    const letters = Math.max(8, ((this.element.clientWidth || 600) - 90) / (17 * LETTER));
    const lines = (/** @type {string | null} */ text) => (text ? Math.ceil(text.length / letters) * 28 : 0);
    this.tops = new Float64Array(segments.length + 1);
    let sum = 0;
    for (let index = 0; index < segments.length; index++) {
      const segment = segments[index];
      const known = this.heights.get(segment.key);
      sum += known ?? lines(segment.text) + lines(segment.translation) + (segment.flags.length ? 38 : 12);
      this.tops[index + 1] = sum;
    }
    this.element.style.setProperty("height", `${sum}px`);
  }

  /** @param {number} top pixels below the list's own */
  find(top) {
    let low = 0;
    let high = this.transcript.segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle] <= top) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** Back to where the anchor was: by its key, or by its time when all keys are new. */
  hold() {
    if (!this.anchor) return;
    const index = this.places.get(this.anchor.key) ?? this.transcript.at(this.anchor.start);
    if (index < 0) return;
    const by = this.element.getBoundingClientRect().top + this.tops[index] - this.anchor.by;
    if (Math.abs(by) >= 1) scrollBy({ top: by, behavior: "instant" });
  }

  /** Elements for what is looked at, and no others. */
  render() {
    const { segments } = this.transcript;
    const moved = this.stale;
    this.layout();
    if (moved) this.hold();
    let fresh = true;
    for (let round = 0; fresh && round < 4; round++) {
      const top = -this.element.getBoundingClientRect().top;
      const edge = this.find(top);
      // at the very top nothing is held: there the reader sees what is new
      this.anchor = top > 0 && segments[edge] ? { key: segments[edge].key, start: segments[edge].start, by: this.tops[edge] - top } : null;
      fresh = this.show(this.find(top - AHEAD), Math.min(segments.length - 1, this.find(top + innerHeight + AHEAD)));
      if (this.stale) {
        this.layout();
        this.hold();
      }
    }
    for (const [key, row] of this.rows) row.style.setProperty("top", `${this.tops[this.places.get(key) ?? 0]}px`);
    this.dispatchEvent(new Event("render"));
  }

  /**
   * @param {number} from
   * @param {number} to
   * @returns {boolean} whether there are new ones
   */
  show(from, to) {
    const { segments } = this.transcript;
    const wanted = new Set(segments.slice(from, to + 1).map((segment) => segment.key));
    const focused = document.activeElement?.closest(".segment");
    for (const [key, row] of this.rows) {
      // whoever is in a row stays there, however far one scrolls
      if (wanted.has(key) || (row === focused && this.places.has(key))) continue;
      row.remove();
      this.sizes.unobserve(row);
      this.rows.delete(key);
    }
    const fresh = [];
    /** @type {Element | null} */
    let next = null;
    for (let index = to; index >= from && segments[index]; index--) {
      const { key } = segments[index];
      let row = this.rows.get(key);
      if (!row) {
        row = makeRow(key);
        updateRow(row, this, index);
        this.rows.set(key, row);
        fresh.push(row);
        this.element.insertBefore(row, next ?? this.following(index));
      }
      next = row;
    }
    for (const row of fresh) {
      this.measure(row.dataset.key ?? "", row);
      this.sizes.observe(row);
    }
    return fresh.length > 0;
  }

  /** @param {number} index the row that comes behind it, for the order in which a keyboard goes */
  following(index) {
    for (const row of this.element.children) {
      if (row instanceof HTMLElement && (this.places.get(row.dataset.key ?? "") ?? 0) > index) return row;
    }
    return null;
  }
}
