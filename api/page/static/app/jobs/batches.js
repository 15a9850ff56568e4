/** Batches: one line each, which unfolds into its jobs. */

import { ask } from "../core/api.js";
import { fill, h, icon, keyed } from "../core/dom.js";
import { moment, named, number, t } from "../core/words.js";
import { STATUSES } from "./feed.js";
import { badge, bar, facts, menuButton, row, update } from "./row.js";

/** @typedef {import("./feed.js").Job} Job */
/** @typedef {import("./feed.js").Batch} Batch */

/**
 * @param {Set<string>} picked
 * @param {(batch: Batch | null) => void} changed how one stands now; null: what is unfolded
 * @param {AbortSignal} signal
 */
export function batchLines(picked, changed, signal) {
  /** Those that are unfolded. @type {Map<string, { jobs: Job[], next: string | null }>} */
  const open = new Map();
  const due = new Set();

  /** Asks for figures, once for all that happens meanwhile. @param {string} id @param {number} [seconds] */
  const look = (id, seconds = 1) => {
    if (due.has(id)) return;
    due.add(id);
    setTimeout(() => {
      due.delete(id);
      if (!signal.aborted) ask("GET", `batches/${id}`, { signal }).then(changed, () => {}); // the next event asks again
    }, 1000 * seconds);
  };
  // a query each for the service: only for lines that somebody sees
  const seen = new IntersectionObserver((lines) => {
    for (const { target, isIntersecting } of lines) {
      if (!isIntersecting || !(target instanceof HTMLElement)) continue;
      seen.unobserve(target);
      look(target.dataset.key ?? "", 0);
    }
  });
  signal.addEventListener("abort", () => seen.disconnect());

  return {
    open,
    look,

    /** @param {Job} job of any batch, or none */
    heard(job) {
      if (!job.batch) return;
      look(job.batch);
      const { jobs, next } = open.get(job.batch) ?? { jobs: [], next: "" };
      const at = jobs.findIndex(({ id }) => id === job.id || id === job.retry_of);
      if (at >= 0) jobs[at] = job;
      else if (next === null) jobs.push(job);
    },

    /** @param {string} id of a job */
    drop(id) {
      for (const [batch, { jobs }] of open) {
        const at = jobs.findIndex((job) => job.id === id);
        if (at >= 0) jobs.splice(at, 1), look(batch);
      }
    },

    /** @param {string} id @param {boolean} [anew] from the first */
    async more(id, anew) {
      const { jobs, next: after } = (!anew && open.get(id)) || { jobs: [], next: null };
      const { items, next } = await ask("GET", `batches/${id}/items`, { query: { after, limit: anew ? 200 : 50 }, signal });
      open.set(id, { jobs: [...jobs, ...items], next });
      changed(null);
    },

    /** @param {Batch} batch */
    line(batch) {
      const id = `batch-${batch.id}`;
      const made = h("li", { class: "batch" },
        h("div", { class: "job" },
          h("button", { type: "button", class: "icon-button fold", "data-do": "fold", "aria-controls": id, "aria-labelledby": `${id}-name` }, icon("back")),
          h("div", {}, h("bdi", { class: "job-name", id: `${id}-name` }), h("div")),
          h("div", { class: "job-badges" }),
          menuButton("", "batch")),
        h("ul", { class: "plain jobs", id, "aria-labelledby": `${id}-name` }),
        h("button", { type: "button", class: "button quiet more", "data-do": "items" }, t("jobs.more")));
      this.update(made, batch);
      seen.observe(made);
      return made;
    },

    /** @param {HTMLElement} made @param {Batch} batch */
    update(made, batch) {
      const [head, list, more] = /** @type {HTMLElement[]} */ ([...made.children]);
      const [fold, body, badges, menu] = head.children;
      const { counts, progress, status, metadata, created_at } = batch;
      const standing = named("batch", status, named("status", status));
      const files = counts ? t("batch.name", { n: counts.total }) : "";
      const name = String(metadata?.name || files || moment(created_at, true));
      const parts = counts ? Object.values(STATUSES).flat().filter((one) => counts[one]).map((one) => `${number(counts[one])} ${named("status", one).toLowerCase()}`) : [];
      fill(body.children[0], name);
      fill(body.children[1], facts([moment(created_at), name !== files && files, ...parts]), progress && status !== "completed" && bar(progress.percent, standing, progress.eta_seconds));
      fill(badges, counts?.partial ? badge("warned", `${number(counts.partial)} ${t("jobs.partial")}`) : null, counts?.failed ? badge("failed", named("status", "failed")) : null, badge(status, standing));
      menu.ariaLabel = t("jobs.menu", { name });
      const unfolded = open.get(batch.id);
      fold.ariaExpanded = String(Boolean(unfolded));
      list.hidden = !unfolded;
      more.hidden = !unfolded?.next;
      keyed(list, unfolded?.jobs ?? [], ({ id }) => id, (job) => row(job, picked.has(job.id)), update);
    },
  };
}
