/** A transcript in memory: what was heard, as it stands now. Views look at it and are told of changes; `editing.js` makes them. */

import { ask, send } from "../core/api.js";

/** @typedef {import("../core/api.js").Schemas} Schemas */
/** @typedef {{ word: string, start: number | null, end: number | null, probability: number | null, speaker?: string | null }} Word */

/**
 * @typedef {object} Segment
 * @property {string} key its name on this page, for ever: ids change with each revision
 * @property {number} start seconds
 * @property {number} end seconds
 * @property {string} text
 * @property {Word[] | null} words null where nobody asked for their times, or the text is another by now
 * @property {string | null} speaker id
 * @property {number | null} channel
 * @property {string | null} translation
 * @property {string[]} flags
 */

/** @typedef {{ id: string, name: string, seconds: number, was?: string[] }} Speaker was: ids of those who became this one here, and are still to be told of */
/** @typedef {{ segments: Segment[], speakers: Speaker[] | null }} State segments and speakers are never changed: another takes their place */

let next = 0;
/** A key that no other segment has. */
export const newKey = () => `s${next++}`;

/**
 * A revision as the service has it. Throws ApiError.
 * @param {string} jobId
 * @param {"latest" | "original" | number} revision
 * @param {AbortSignal} [signal]
 */
export async function fetchRevision(jobId, revision, signal) {
  // both, since the result has words and figures, and the transcript says which revision it is
  const text = (/** @type {number} */ of) => ask("GET", `jobs/${jobId}/result`, { query: { format: "json", revision: of }, signal });
  const known = typeof revision === "number" ? text(revision) : null;
  const [answer] = await Promise.all([send("GET", `jobs/${jobId}/transcript`, { query: { revision }, signal }), known]);
  /** @type {Schemas["TranscriptBody"]} */
  const head = await answer.json();
  const result = await (known ?? text(head.revision));
  /** @type {Segment[]} */
  const segments = result.segments.map(segmentOf);
  return { ...head, etag: answer.headers.get("ETag") ?? "", result, segments, speakers: /** @type {Speaker[] | null} */ (result.speakers) };
}

/**
 * @param {any} found as results and events have it
 * @returns {Segment}
 */
export function segmentOf(found) {
  return {
    key: newKey(),
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
  }

  /**
   * Fetches a revision. Throws ApiError.
   * @param {"latest" | "original" | number} revision
   * @param {AbortSignal} [signal]
   */
  async load(revision, signal) {
    const { result, ...found } = await fetchRevision(this.jobId, revision, signal);
    this.etag = found.etag;
    this.revision = found.revision;
    this.latest = found.latest;
    this.duration = result.duration;
    this.language = result.language?.code ?? "";
    this.speakers = found.speakers;
    this.gaps = result.gaps;
    this.warnings = result.warnings;
    this.segments = found.segments;
    this.changed(null);
  }

  /**
   * Takes in what became final of a job that still runs (event `segments`): each exactly once, in order.
   * @param {{ from: number, segments: any[] }} found
   */
  grow({ from, segments }) {
    this.segments.splice(from, this.segments.length, ...segments.map(segmentOf));
    this.changed(null);
  }

  /**
   * Shows another state, and tells of what differs from the one before.
   * @param {State} state
   */
  put({ segments, speakers }) {
    const before = this.segments;
    const alike = speakers === this.speakers && segments.length === before.length && segments.every((one, n) => one.key === before[n].key);
    const keys = alike ? segments.filter((one, n) => one !== before[n]).map((one) => one.key) : null;
    this.segments = segments;
    this.speakers = speakers;
    if (keys === null || keys.length > 0) this.changed(keys);
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
