/** Batches: one line each, which unfolds into its jobs. */

import { ask, url } from "../core/api.js";
import { fill, h, icon, keyed } from "../core/dom.js";
import { moment, named, number, t } from "../core/words.js";
import { bar, row, update } from "./row.js";

/** @typedef {import("./feed.js").Job} Job */
/** @typedef {import("./feed.js").Batch} Batch */

const COUNTED = /** @type {const} */ (["processing", "queued", "cancelling", "completed", "failed", "cancelled"]);

/** Events: `batch` (detail: a Batch as it stands now), `jobs` (what is unfolded has changed). */
export class Batches extends EventTarget {
  /**
   * @param {AbortSignal} signal
   * @param {Set<string>} picked
   */
  constructor(signal, picked) {
    super();
    this.signal = signal;
    this.picked = picked;
    /** by id, of those that are unfolded @type {Map<string, { jobs: Job[], next: string | null }>} */
    this.open = new Map();
    /** @type {Set<string>} */
    this._due = new Set();
    // figures cost the service a query each: only of lines that are looked at
    this._seen = new IntersectionObserver((found) => {
      for (const { target, isIntersecting } of found) {
        if (!isIntersecting || !(target instanceof HTMLElement)) continue;
        this._seen.unobserve(target);
        this.ask(target.dataset.key ?? "", 0);
      }
    });
    signal.addEventListener("abort", () => this._seen.disconnect());
  }

  /**
   * Asks for a batch's figures, however often it is called meanwhile.
   * @param {string} id
   * @param {number} [seconds] from now
   */
  ask(id, seconds = 1) {
    if (this._due.has(id)) return;
    this._due.add(id);
    setTimeout(async () => {
      this._due.delete(id);
      if (this.signal.aborted) return;
      const batch = await ask("GET", `batches/${id}`, { signal: this.signal }).catch(() => null); // the next event asks again
      if (batch) this.dispatchEvent(new CustomEvent("batch", { detail: batch }));
    }, 1000 * seconds);
  }

  /** @param {Job} job of any batch, or none */
  heard(job) {
    if (!job.batch) return;
    this.ask(job.batch);
    const open = this.open.get(job.batch);
    if (!open) return;
    const at = open.jobs.findIndex(({ id }) => id === job.id || id === job.retry_of);
    if (at >= 0) open.jobs[at] = job;
    else if (open.next === null) open.jobs.push(job);
  }

  /** @param {string} id of a job that is no more */
  drop(id) {
    for (const [batch, open] of this.open) {
      const left = open.jobs.filter((job) => job.id !== id);
      if (left.length < open.jobs.length) this.ask(batch);
      open.jobs = left;
    }
  }

  /** Once more what is unfolded. */
  refresh() {
    for (const id of this.open.keys()) void this.more(id, true).catch(() => {}); // whoever asks for the list is told
  }

  /**
   * @param {string} id
   * @param {boolean} [anew] from the first job
   */
  async more(id, anew = false) {
    const open = this.open.get(id) ?? { jobs: [], next: null };
    const limit = anew ? Math.min(200, Math.max(50, open.jobs.length)) : 50;
    const { items, next } = await ask("GET", `batches/${id}/items`, { query: { limit, after: anew ? null : open.next }, signal: this.signal });
    this.open.set(id, { jobs: anew ? items : [...open.jobs, ...items], next });
    this.dispatchEvent(new Event("jobs"));
  }

  /** @param {Batch} batch */
  line(batch) {
    const id = `batch-${batch.id}`;
    const made = h(
      "li",
      { class: "batch" },
      h("div", { class: "batch-head" },
        h("button", { type: "button", class: "icon-button fold", "data-do": "fold", "aria-expanded": "false", "aria-controls": id, "aria-labelledby": `${id}-name` }, icon("back")),
        h("div", { class: "job-body" }, h("span", { class: "job-name", id: `${id}-name` }), h("div", { class: "job-more" })),
        h("div", { class: "job-badges" }),
        h("button", { type: "button", class: "icon-button", "data-do": "batch", "aria-haspopup": "menu", "aria-expanded": "false" }, icon("more"))),
      h("ul", { class: "plain jobs", id, hidden: true, "aria-labelledby": `${id}-name` }),
      h("button", { type: "button", class: "button quiet", "data-do": "items", hidden: true }, t("jobs.more")),
    );
    this.update(made, batch);
    this._seen.observe(made);
    return made;
  }

  /**
   * @param {HTMLElement} made by `line`
   * @param {Batch} batch
   */
  update(made, batch) {
    const [head, list, more] = /** @type {HTMLElement[]} */ ([...made.children]);
    const [fold, body, badges] = head.children;
    const [name, facts] = body.children;
    const { counts, progress, status } = batch;
    const called = batch.metadata?.name;
    const files = counts ? t("batch.name", { n: counts.total }) : "";
    name.textContent = (typeof called === "string" && called) || files || moment(batch.created_at, true);
    head.children[3].setAttribute("aria-label", t("jobs.menu", { name: name.textContent }));
    const parts = counts ? COUNTED.filter((one) => counts[one]).map((one) => `${number(counts[one])} ${named("status", one).toLowerCase()}`) : [];
    if (counts?.partial) parts.push(`${number(counts.partial)} ${t("jobs.partial")}`);
    fill(
      facts,
      h("p", { class: "facts soft small numbers" }, [moment(batch.created_at), ...(called && files ? [files] : []), ...parts].map((one) => h("span", {}, one))),
      progress && status !== "completed" && bar(progress.percent, named("batch", status), progress.eta_seconds),
    );
    fill(badges, counts?.failed ? h("span", { class: "badge bad" }, named("status", "failed")) : null, h("span", { class: `badge ${status === "completed" ? "good" : ""}` }, named("batch", status)));
    const open = this.open.get(batch.id);
    fold.setAttribute("aria-expanded", String(Boolean(open)));
    list.hidden = !open;
    more.hidden = !open?.next;
    keyed(list, open?.jobs ?? [], (job) => job.id, (job) => row(job, undefined, this.picked.has(job.id)), update);
  }
}

/**
 * @param {string} id
 * @param {string} format
 */
export const zipUrl = (id, format) => url(`batches/${id}/results.zip`, { format });
