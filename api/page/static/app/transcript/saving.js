/** Saves a transcript by itself: one request at a time, nothing lost when the service is away, others' edits brought together with ours. */

import { ApiError, ask, send } from "../core/api.js";
import { drafts, forget, keep, packed, unpacked } from "./drafts.js";
import { align, known, merge, settle } from "./merging.js";
import { fetchRevision } from "./model.js";
import { sameAll } from "./segments.js";

/** @typedef {import("./model.js").State} State */
/** @typedef {State & { revision: number, etag: string }} Base */
/** @typedef {"saved" | "waiting" | "saving" | "away" | "conflict" | "refused"} Stage */

const PAUSE = 1500; // ms without a change
const LONGEST = 10_000; // ms that somebody may type on
const KEEPALIVE = 60_000; // bytes that browsers send for a page that is gone

/** Events: `stage`; `taken` (CustomEvent, detail: at how many places something came from others). */
export class Saver extends EventTarget {
  /**
   * @param {string} jobId
   * @param {import("./history.js").History} history
   * @param {Base} base what the service has, with the same keys as `history`
   * @param {(conflicts: import("./merging.js").Conflict[]) => Promise<boolean>} choose sets `take` of each; false: not now
   * @param {AbortSignal} signal
   */
  constructor(jobId, history, base, choose, signal) {
    super();
    this.jobId = jobId;
    this.history = history;
    this.base = base;
    this.choose = choose;
    this.signal = signal;
    /** @type {Stage} */
    this.stage = "saved";
    /** why it was refused */
    this.why = "";
    /** whether the browser keeps what is not saved */
    this.kept = true;
    this.window = Math.random().toString(36).slice(2);
    this._since = 0;
    this._wait = 1;
    this._busy = false;
    this._timer = 0;
    this._keeping = 0;
    this._others = new BroadcastChannel(`parascribe-${jobId}`);
    this._others.onmessage = ({ data }) => this._hear(data);
    history.addEventListener("change", () => this._changed());
    addEventListener("online", () => void this.save(), { signal });
    addEventListener("pagehide", () => void this.save(true), { signal });
    document.addEventListener("visibilitychange", () => void (document.hidden ? this.save(true) : this.look()), { signal });
    addEventListener("beforeunload", (event) => !this.kept && this.dirty && event.preventDefault(), { signal });
    signal.addEventListener("abort", () => void this.save());
  }

  /** As it would be sent: without segments in which nothing is said yet. @returns {State} */
  get mine() {
    const { segments, speakers } = this.history.state;
    return { segments: segments.filter((one) => one.text.trim()), speakers };
  }

  get dirty() {
    const { segments, speakers } = this.mine;
    return !sameAll(segments, this.base.segments) || Object.keys(this._names(speakers)).length > 0;
  }

  /** @param {Stage} stage */
  _tell(stage, why = "") {
    this.stage = stage;
    this.why = why;
    this.dispatchEvent(new Event("stage"));
  }

  _changed() {
    if (!this.dirty) {
      if (this.stage === "waiting") this._clean();
      return;
    }
    this._since ||= Date.now();
    this._keeping ||= window.setTimeout(() => this._keep(), 300);
    if (["away", "conflict", "saving"].includes(this.stage)) return; // each goes on by itself
    this._tell("waiting");
    this._plan(Math.min(PAUSE, Math.max(0, this._since + LONGEST - Date.now())));
  }

  /** @param {number} ms */
  _plan(ms) {
    clearTimeout(this._timer);
    this._timer = window.setTimeout(() => this.save(), ms);
  }

  _keep() {
    clearTimeout(this._keeping);
    this._keeping = 0;
    const { revision, segments } = this.base;
    const now = this.mine;
    keep({ job: this.jobId, window: this.window, at: Date.now(), revision, segments: packed(now.segments, segments, false), speakers: now.speakers }).then(() => (this.kept = true), () => (this.kept = false));
  }

  _clean() {
    clearTimeout(this._keeping);
    this._keeping = 0;
    this._since = 0;
    if (this.signal.aborted) this._others.close(); // until then another view hears that it is looked after
    forget(this.jobId, this.window).catch(() => {});
    this._tell("saved");
  }

  /** What PATCH wants to hear of speakers. @param {State["speakers"]} speakers */
  _names(speakers) {
    /** @type {Record<string, string>} */
    const names = {};
    for (const { id, name, was = [] } of speakers ?? []) {
      for (const before of this.base.speakers ?? []) {
        if (was.includes(before.id)) names[before.id] = id;
        else if (before.id === id && before.name !== name) names[id] = name;
      }
    }
    return names;
  }

  /**
   * Saves what is not saved, now.
   * @param {boolean} [leaving] the page may be gone before there is an answer
   */
  async save(leaving = false) {
    clearTimeout(this._timer);
    if (leaving && this.dirty) this._keep();
    if (this._busy || this.stage === "conflict") return;
    if (!this.dirty) return this._clean();
    // a text that somebody is about to write anew: its segment would be taken for a removed one
    const writing = document.activeElement instanceof HTMLElement && document.activeElement.isContentEditable;
    if (!leaving && writing && this.history.state.segments.some((one) => !one.text.trim())) return this._plan(PAUSE);
    this._busy = true;
    this._tell("saving");
    try {
      await this._send(leaving);
      this._wait = 1;
      this._since = 0;
      if (!this.dirty) this._clean();
    } catch (error) {
      await this._failed(error);
    } finally {
      this._busy = false;
    }
    if (this.stage === "saving") this.stage = "waiting";
    if (this.stage === "waiting") this._changed();
  }

  /** @param {boolean} leaving */
  async _send(leaving) {
    const { segments, speakers } = this.mine;
    const names = this._names(speakers);
    if (Object.keys(names).length) {
      const base = { ...this.base, speakers, segments: known(this.base.segments, speakers) };
      await this._put("PATCH", "speakers", names, base, leaving);
    }
    if (!sameAll(segments, this.base.segments)) {
      await this._put("PUT", "transcript", { segments: packed(segments, this.base.segments, true) }, { ...this.base, segments }, leaving);
    }
    this._others.postMessage({ revision: this.base.revision });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} json
   * @param {Base} after what the service has then
   * @param {boolean} leaving
   */
  async _put(method, path, json, after, leaving) {
    const body = JSON.stringify(json);
    const headers = { "If-Match": this.base.etag, "Content-Type": "application/json" };
    const answer = await send(method, `jobs/${this.jobId}/${path}`, { body, headers, keepalive: leaving && body.length < KEEPALIVE });
    this.base = { ...after, revision: (await answer.json()).revision, etag: answer.headers.get("ETag") ?? "" };
  }

  /** @param {unknown} error @returns {Promise<void>} */
  async _failed(error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 412) return this._pull().catch((again) => this._failed(again));
    if ([0, 401, 409, 429].includes(error.status) || error.status >= 500) {
      this._tell("away");
      this._plan(1000 * Math.max(this._wait, error.retryAfter));
      this._wait = Math.min(30, 2 * this._wait);
    } else this._tell("refused", [error.message, ...error.errors.map(({ message }) => message)].join(" "));
  }

  /** Whether somebody else has saved meanwhile. */
  async look() {
    const job = await ask("GET", `jobs/${this.jobId}`, { signal: this.signal }).catch(() => null);
    if (job) await this._hear(job);
  }

  /** @param {{ revision?: number, who?: string, here?: string }} said by another window, or the service */
  async _hear({ revision = 0, who }) {
    if (who) this._others.postMessage({ here: this.window });
    if (revision <= this.base.revision || this._busy || this.stage === "conflict") return;
    await this.pull();
  }

  /** When somebody has asked for it, after `conflict` or `refused`. */
  again() {
    const { stage } = this;
    this.stage = "waiting";
    return stage === "conflict" ? this.pull() : this.save();
  }

  /** Brings in what others have saved, and saves what is ours on top of it. */
  async pull() {
    if (this._busy) return;
    this._busy = true;
    try {
      await this._pull();
    } catch (error) {
      await this._failed(error);
    } finally {
      this._busy = false;
    }
    if (this.stage === "waiting") this._changed();
  }

  async _pull() {
    const { base } = this;
    const found = await fetchRevision(this.jobId, "latest");
    const theirs = { ...found, segments: align(base.segments, found.segments) };
    if (theirs.revision === base.revision) return this._tell("waiting");
    const merged = merge(base, this.history.state, theirs);
    if (merged.conflicts.length) {
      this._tell("conflict");
      if (!(await this.choose(merged.conflicts))) return;
    }
    this.base = theirs;
    this.history.pass((before) => settle(merge(base, before, theirs), "mine"), settle(merged));
    if (merged.taken) this.dispatchEvent(new CustomEvent("taken", { detail: merged.taken }));
    this._tell("waiting");
  }

  /**
   * What windows that are gone have left unsaved, the newest first.
   * @returns {Promise<import("./drafts.js").Draft[]>}
   */
  async left() {
    const found = await drafts(this.jobId);
    if (found.length === 0) return [];
    const here = new Set();
    const hear = (/** @type {MessageEvent} */ { data }) => here.add(data.here);
    this._others.addEventListener("message", hear);
    this._others.postMessage({ who: this.window });
    await new Promise((resolve) => setTimeout(resolve, 200));
    this._others.removeEventListener("message", hear);
    return found.filter((one) => !here.has(one.window));
  }

  /**
   * Takes up what was left: a step that can be undone. What has been saved after all is forgotten without a word.
   * @param {import("./drafts.js").Draft} draft
   * @param {() => Promise<string | null>} ask `take`, `discard`, or null: later
   */
  async takeUp(draft, ask) {
    const found = await fetchRevision(this.jobId, draft.revision);
    const base = { ...found, segments: align(this.base.segments, found.segments) };
    const merged = merge(base, { segments: unpacked(draft.segments, base.segments), speakers: draft.speakers }, this.base);
    const now = settle(merged);
    const news = merged.conflicts.length > 0 || !sameAll(now.segments, this.base.segments) || Object.keys(this._names(now.speakers)).length > 0;
    const answer = news ? await ask() : "discard";
    if (answer === "take") {
      if (merged.conflicts.length && !(await this.choose(merged.conflicts))) return;
      const state = settle(merged);
      // two speakers made one cannot be parted again
      if (state.speakers?.some((one) => one.was?.length)) this.history.pass(() => state);
      else this.history.apply(state);
      this._keep();
    }
    if (answer) await forget(this.jobId, draft.window);
  }
}
