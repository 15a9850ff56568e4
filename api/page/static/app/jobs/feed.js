/** What the list shows: jobs and batches that somebody wants to see, fetched by pages and kept true by events. */

import { ask } from "../core/api.js";
import { chosenLanguage } from "../core/words.js";

/** @typedef {import("../core/api.js").Schemas} Schemas */
/** @typedef {Schemas["JobBody"]} Job */
/** @typedef {Schemas["BatchBody"]} Batch counts and progress are missing until somebody has asked for them */
/** @typedef {Schemas["HitBody"]} Hit */
/** @typedef {{ q: string, status: string, time: string, sort: string }} Wanted "" each: no search, all, ever, newest first */
/** @typedef {{ id: string, made: string, job?: Job, hit?: Hit, batch?: Batch }} Entry */
/** @typedef {{ path: string, query: Record<string, string>, next: string | null, last: string, done: boolean }} Source */

/** Statuses of each choice of the filter. @type {Record<string, Job["status"][]>} */
export const STATUSES = {
  active: ["processing", "queued", "cancelling"],
  completed: ["completed"],
  failed: ["failed"],
  cancelled: ["cancelled"],
};

/** So many are sorted otherwise than by time: the API has them newest first. */
export const SORTED = 1000;

/** Above all ids, which sort by the time they were made. */
const ABOVE = "~";

/** @param {string} time */
function begin(time) {
  const day = new Date();
  day.setHours(0, 0, 0, 0);
  if (time === "week") day.setDate(day.getDate() - 6);
  return time ? day.getTime() : 0;
}

/** @param {Job} job */
const length = (job) => job.audio.duration ?? 0;

export class Feed {
  /**
   * @param {Wanted} wanted
   * @param {AbortSignal} signal
   */
  constructor(wanted, signal) {
    this.wanted = wanted;
    this.signal = signal;
    /** jobs of a batch are in its line, not lines themselves */
    this.grouped = !wanted.q && !wanted.status && ["", "oldest"].includes(wanted.sort);
    this.since = begin(wanted.time);
    /** @type {Map<string, Entry>} */
    this.entries = new Map();
    /** @type {Source[]} */
    this.sources = this._paths().map(([path, query]) => ({ path, query, next: null, last: ABOVE, done: false }));
    /** @type {Entry[] | null} */
    this._shown = null;
  }

  /** @returns {[string, Record<string, string>][]} */
  _paths() {
    const { q, status } = this.wanted;
    if (q) return [["search", { q }]];
    if (status) return STATUSES[status].map((one) => ["jobs", { status: one }]);
    return this.grouped ? [["jobs", {}], ["batches", {}]] : [["jobs", {}]];
  }

  get complete() {
    return this.sources.every((source) => source.done);
  }

  /** Older ids are not shown yet: another source may have some in between. */
  get edge() {
    return this.sources.reduce((edge, source) => (source.done || source.last < edge ? edge : source.last), "");
  }

  /** In their order. */
  shown() {
    if (this._shown) return this._shown;
    const { sort } = this.wanted;
    const { compare } = new Intl.Collator(chosenLanguage(), { numeric: true });
    const edge = this.edge;
    const found = [...this.entries.values()].filter((entry) => entry.id >= edge);
    found.sort((a, b) => (a.id < b.id ? 1 : -1));
    if (sort === "oldest") found.reverse();
    if (sort === "name") found.sort((a, b) => (a.job && b.job ? compare(a.job.source.filename, b.job.source.filename) : 0));
    if (sort === "length") found.sort((a, b) => (a.job && b.job ? length(b.job) - length(a.job) : 0));
    return (this._shown = found);
  }

  /**
   * Fetches so many more, or all there are. Throws ApiError; can be called again then.
   * @param {number} count
   */
  async more(count) {
    const goal = this.shown().length + count;
    const limit = this.wanted.q ? 50 : Math.min(200, Math.max(50, count));
    while (!this.complete && this.shown().length < goal) {
      const edge = this.edge;
      await Promise.all(this.sources.filter((source) => !source.done && source.last === edge).map((source) => this._page(source, limit)));
    }
  }

  /**
   * @param {Source} source
   * @param {number} limit
   */
  async _page(source, limit) {
    const { items, next } = await ask("GET", source.path, { query: { ...source.query, limit, after: source.next }, signal: this.signal });
    for (const item of items) {
      if (source.path === "search") this._put({ id: item.job.id, made: item.job.created_at, job: item.job, hit: item });
      else this._put({ id: item.id, made: item.created_at, ...(source.path === "jobs" ? { job: item } : { batch: item }) });
      source.last = item.job?.id ?? item.id;
      source.done = this._old(item.job?.created_at ?? item.created_at);
    }
    source.next = next;
    source.done ||= next === null;
    this._shown = null;
  }

  /** @param {string} made */
  _old(made) {
    return Date.parse(made) < this.since;
  }

  /** @param {Entry} entry */
  _put(entry) {
    if (this._old(entry.made) || (entry.job && !this._wants(entry.job))) return;
    this.entries.set(entry.id, entry);
  }

  /** @param {Job} job */
  _wants(job) {
    const { status } = this.wanted;
    return !(this.grouped && job.batch) && (!status || STATUSES[status].includes(job.status));
  }

  /**
   * Takes in how a job stands now. What a search finds only the service knows.
   * @param {Job} job
   */
  take(job) {
    const entry = this.entries.get(job.id);
    if (entry && this._wants(job)) {
      entry.job = job;
    } else if (entry) {
      this.drop(job.id);
    } else if (!this.wanted.q) {
      this._put({ id: job.id, made: job.created_at, job });
      this._shown = null;
    }
  }

  /** @param {Batch} batch */
  takeBatch(batch) {
    if (!this.grouped) return;
    const entry = this.entries.get(batch.id);
    if (entry) entry.batch = batch;
    else this._put({ id: batch.id, made: batch.created_at, batch });
    this._shown = null;
  }

  /** @param {string} id of a job or batch that is no more */
  drop(id) {
    if (this.entries.delete(id)) this._shown = null;
  }
}
