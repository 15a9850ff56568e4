/** What can be done with jobs, one or many. */

import { ApiError, ask, send, url } from "../core/api.js";
import { h } from "../core/dom.js";
import { named, t } from "../core/words.js";
import { show } from "../ui/dialog.js";
import { zip } from "./zip.js";

/** @typedef {import("./feed.js").Job} Job */
/** @typedef {keyof typeof CAN} Action */

export const CAN = {
  download: (/** @type {Job} */ job) => job.status === "completed",
  retry: (/** @type {Job} */ job) => job.status === "failed" || job.status === "cancelled" || job.partial,
  cancel: (/** @type {Job} */ job) => job.status === "queued" || job.status === "processing",
  delete: (/** @type {Job} */ _) => true,
};

/** What went wrong, for people. @param {any} error */
export const reason = (error) => named("error", error.code ?? "", error.message ?? String(error));

/**
 * An answer, for which it asks again for a minute while the service is away or says when.
 * @template T
 * @param {() => Promise<T>} request
 * @param {boolean} [once] not again where the first may have got through
 */
async function patiently(request, once = false) {
  for (let wait = 1, waited = 0; ; wait *= 2) {
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof ApiError) || waited > 60 || !(error.retryAfter || (!error.status && !once))) throw error;
      const seconds = error.retryAfter || wait;
      waited += seconds;
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    }
  }
}

/**
 * Throws ApiError, but not for what is so already.
 * @param {"cancel" | "retry" | "delete"} action
 * @param {string} path `jobs/<id>` or `batches/<id>`
 * @returns {Promise<any>} how it is now, or the new job of a retry; null: it is no more
 */
export async function act(action, path) {
  try {
    return await patiently(() => (action === "delete" ? ask("DELETE", path) : ask("POST", `${path}/${action}`)), action === "retry");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 404 && action !== "retry") return null;
    if (error.code === "already_terminal") return ask("GET", path);
    throw error;
  }
}

/**
 * Does something with many, four at a time, and names those that it failed for.
 * @param {Job[]} jobs
 * @param {(job: Job) => Promise<void>} one
 * @param {(done: number) => void} report
 */
export async function each(jobs, one, report) {
  /** @type {HTMLElement[]} */
  const failed = [];
  const left = jobs.values();
  let done = 0;
  const work = async () => {
    for (const job of left) {
      await one(job).catch((error) => failed.push(h("li", {}, h("bdi", {}, job.source.filename), `: ${reason(error)}`)));
      report(++done);
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  if (failed.length) void show(t("jobs.not_all", { n: failed.length }), [h("ul", {}, failed)], [{ text: t("page.close"), value: "" }]);
}

/**
 * Transcripts as one file: as it is, or a zip of more.
 * @param {Job[]} jobs
 * @param {string} format
 * @param {(done: number) => void} report
 */
export async function download(jobs, format, report) {
  /** @type {Parameters<typeof zip>[0]} */
  const files = [];
  if (jobs.length === 1) return h("a", { href: url(`jobs/${jobs[0].id}/result`, { format }), download: "" }).click();
  await each(jobs, async (job) => {
    const { id } = job;
    const answer = await patiently(() => send("GET", `jobs/${id}/result`, { query: { format } }));
    const name = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? `${id}.${format}`;
    files[jobs.indexOf(job)] = { name: decodeURIComponent(name), data: new Uint8Array(await answer.arrayBuffer()) };
  }, report);
  const there = files.filter(Boolean); // of one that failed there is none
  if (!there.length) return;
  const made = URL.createObjectURL(zip(there));
  h("a", { href: made, download: `${t("place.jobs")}.zip` }).click();
  setTimeout(() => URL.revokeObjectURL(made), 60_000);
}
