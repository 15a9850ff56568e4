/** A transcript in memory: what was heard, as it stands now. Views look at it and are told of changes; `editing.js` makes them. */

import { ask, send } from "../core/api.js";

/** @typedef {import("../core/api.js").Schemas} Schemas */
/** @typedef {{ word: string, start: number | null, end: number | null, probability: number | null, speaker?: string | null }} Word */

/**
 * @typedef {object} Segment
 * @property {string} key its name on this page, for ever: ids change with each revision
 * @property {number | null} id its place in the revision that is `base`; null: new since then
 * @property {number} start seconds
 * @property {number} end seconds
 * @property {string} text
 * @property {Word[] | null} words null where nobody asked for their times, or the text is another by now
 * @property {string | null} speaker id
 * @property {number | null} channel
 * @property {string | null} translation
 * @property {string[]} flags
 */

/** @typedef {{ id: string, name: string, seconds: number }} Speaker */

/** Events: `change` (CustomEvent, detail: keys of the segments whose content changed, or null when it may be any of them, or their order). */
export class Transcript extends EventTarget {
  /** @param {string} jobId */
  constructor(jobId) {
    super();
    this.jobId = jobId;
    /** @type {Segment[]} */
    this.segments = [];
    /** @type {Speaker[] | null} null: nobody listened for who speaks */
    this.speakers = null;
    /** revision that is shown, and the newest one */
    this.revision = 0;
    this.latest = 0;
    /** of the revision that is shown; what `If-Match` wants */
    this.etag = "";
    this.duration = 0;
    this.language = "";
    /** @type {{ start: number, end: number, reason: string }[]} */
    this.gaps = [];
    /** @type {{ code: string, message: string }[]} */
    this.warnings = [];
    this._next = 0;
  }

  /**
   * Fetches a revision. Throws ApiError.
   * @param {"latest" | "original" | number} revision
   * @param {AbortSignal} [signal]
   */
  async load(revision, signal) {
    // both, since the result has words and figures, and the transcript says which revision it is
    const path = `jobs/${this.jobId}`;
    const text = (/** @type {number} */ of) => ask("GET", `${path}/result`, { query: { format: "json", revision: of }, signal });
    const known = typeof revision === "number" ? text(revision) : null;
    const [answer] = await Promise.all([send("GET", `${path}/transcript`, { query: { revision }, signal }), known]);
    /** @type {Schemas["TranscriptBody"]} */
    const head = await answer.json();
    const result = await (known ?? text(head.revision));
    this.etag = answer.headers.get("ETag") ?? "";
    this.revision = head.revision;
    this.latest = head.latest;
    this.duration = result.duration;
    this.language = result.language?.code ?? "";
    this.speakers = result.speakers;
    this.gaps = result.gaps;
    this.warnings = result.warnings;
    this.segments = result.segments.map((/** @type {any} */ one) => this.segment(one));
    this.changed(null);
  }

  /**
   * Takes in what became final of a job that still runs (event `segments`): each exactly once, in order.
   * @param {{ from: number, segments: any[] }} found
   */
  grow({ from, segments }) {
    this.segments.splice(from, this.segments.length, ...segments.map((one) => this.segment(one)));
    this.changed(null);
  }

  /**
   * @param {any} found as results and events have it
   * @returns {Segment}
   */
  segment(found) {
    return {
      key: `s${this._next++}`,
      id: found.id ?? null,
      start: found.start,
      end: found.end,
      text: found.text,
      words: found.words ?? null,
      speaker: found.speaker ?? null,
      channel: found.channel ?? null,
      translation: found.translation ?? null,
      flags: found.flags ?? [],
    };
  }

  /** @param {string[] | null} keys */
  changed(keys) {
    this.dispatchEvent(new CustomEvent("change", { detail: keys }));
  }

  /**
   * Index of the segment at a time: the last that has begun; -1 before the first.
   * @param {number} seconds
   */
  at(seconds) {
    let low = 0;
    let high = this.segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.segments[middle].start <= seconds) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** @param {string | null} id what a speaker is called */
  nameOf(id) {
    return this.speakers?.find((speaker) => speaker.id === id)?.name ?? id ?? "";
  }
}
