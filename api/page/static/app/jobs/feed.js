/** What the list shows: jobs and batches, fetched by pages and kept true by events. */

import { ask } from "../core/api.js";
import { chosenLanguage } from "../core/words.js";

/** @typedef {import("../core/api.js").Schemas} Schemas */
/** @typedef {Schemas["JobBody"]} Job */
/** @typedef {Omit<Schemas["BatchBody"], "counts" | "progress"> & Partial<Schemas["BatchBody"]>} Batch figures: once somebody has asked */
/** @typedef {Schemas["HitBody"]} Hit */
/** @typedef {{ q: string, status: string, time: string, sort: string }} Wanted "": no search, all, ever, newest first */
/** @typedef {{ id: string, job?: Job, hit?: Hit, batch?: Batch }} Entry */

/** @type {Record<string, Job["status"][]>} */
export const STATUSES = { processing: ["processing", "queued", "cancelling"], completed: ["completed"], failed: ["failed"], cancelled: ["cancelled"] };

/** So many can be in another order: the API has them newest first. */
export const SORTED = 1000;

export class Feed {
  /**
   * @param {Wanted} wanted
   * @param {AbortSignal} signal
   */
  constructor(wanted, signal) {
    const { q, status, time, sort } = (this.wanted = wanted);
    this.signal = signal;
    /** jobs of a batch are in its line */
    this.grouped = !q && !status && (!sort || sort === "oldest");
    this.since = time && new Date(new Date().setHours(0, 0, 0, 0) - (time === "week" ? 6 * 864e5 : 0)).toISOString();
    /** @type {Map<string, Entry>} */
    this.entries = new Map();
    /** @type {[string, Record<string, string>][]} */
    const paths = q ? [["search", { q }]] : status ? STATUSES[status].map((one) => ["jobs", { status: one }]) : this.grouped ? [["jobs", {}], ["batches", {}]] : [["jobs", {}]];
    // ids sort by the time they were made; `last`: of what was fetched, "~" is behind them all
    this.sources = paths.map(([path, query]) => ({ path, query, next: null, last: "~", done: false }));
    /** @type {Entry[] | null} */
    this.order = null;
  }

  get complete() {
    return this.sources.every(({ done }) => done);
  }

  /** Behind this id another source may have something in between. */
  get edge() {
    return this.sources.reduce((edge, { done, last }) => (done || last < edge ? edge : last), "");
  }

  shown() {
    if (this.order) return this.order;
    const { edge, wanted: { sort } } = this;
    const found = [...this.entries.values()].filter(({ id }) => id >= edge).sort((a, b) => (a.id < b.id ? 1 : -1));
    if (sort === "oldest") found.reverse();
    const { compare } = new Intl.Collator(chosenLanguage(), { numeric: true });
    if (sort === "name") found.sort((a, b) => (a.job && b.job ? compare(a.job.source.filename, b.job.source.filename) : 0));
    if (sort === "length") found.sort((a, b) => (b.job?.audio.duration ?? 0) - (a.job?.audio.duration ?? 0));
    return (this.order = found);
  }

  /**
   * Fetches so many more, or all there are. Throws ApiError; can be called again then.
   * @param {number} count
   */
  async more(count) {
    const goal = this.shown().length + count;
    while (!this.complete && this.shown().length < goal) {
      const { edge } = this;
      await Promise.all(this.sources.filter(({ done, last }) => !done && last === edge).map(async (source) => {
        const limit = Math.min(this.wanted.q ? 50 : 200, count);
        const { items, next } = await ask("GET", source.path, { query: { ...source.query, limit, after: source.next }, signal: this.signal });
        for (const item of items) {
          const { id, created_at } = item.job ?? item;
          if (source.path === "batches") this.takeBatch(item);
          else this.take(item.job ?? item, item.job && item);
          source.last = id;
          source.done = created_at < this.since;
        }
        source.next = next;
        source.done ||= next === null;
        this.order = null;
      }));
    }
  }

  /**
   * Takes in how a job stands. What a search finds only the service knows.
   * @param {Job} job
   * @param {Hit} [hit]
   */
  take(job, hit) {
    const { q, status } = this.wanted;
    const entry = this.entries.get(job.id);
    if (entry?.job?.finished_at && !job.finished_at) return; // told late: what has ended stays so
    if ((this.grouped && job.batch) || (status && !STATUSES[status].includes(job.status)) || job.created_at < this.since) this.drop(job.id);
    else if (entry) entry.job = job;
    else if (hit || !q) this.add({ id: job.id, job, hit });
  }

  /** @param {Batch} batch */
  takeBatch(batch) {
    const entry = this.entries.get(batch.id);
    if (entry) entry.batch = batch;
    else if (this.grouped && batch.created_at >= this.since) this.add({ id: batch.id, batch });
  }

  /** @param {Entry} entry */
  add(entry) {
    this.entries.set(entry.id, entry);
    this.order = null;
  }

  /** @param {string} id */
  drop(id) {
    if (this.entries.delete(id)) this.order = null;
  }
}
