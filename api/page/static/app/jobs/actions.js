/** What can be done with jobs, one or many. */

import { ApiError, ask, send, url } from "../core/api.js";
import { h } from "../core/dom.js";
import { named, t } from "../core/words.js";
import { show } from "../ui/dialog.js";
import { zip } from "./zip.js";

/** @typedef {import("./feed.js").Job} Job */
/** @typedef {"cancel" | "retry" | "delete" | "download"} Action */

/** @type {Record<Action, (job: Job) => boolean>} */
export const CAN = {
  cancel: (job) => job.status === "queued" || job.status === "processing",
  retry: (job) => job.status === "failed" || job.status === "cancelled" || job.partial,
  delete: () => true,
  download: (job) => job.status === "completed",
};

/**
 * An answer, asked for again for a minute while the service is away or wants to be asked later.
 * @template T
 * @param {() => Promise<T>} request
 * @param {boolean} [once] not again when it is unknown whether the first got through
 */
export async function patiently(request, once = false) {
  for (let wait = 1, waited = 0; ; wait *= 2) {
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof ApiError) || waited > 60 || !(error.retryAfter || (error.status === 0 && !once))) throw error;
      const seconds = error.retryAfter || wait;
      waited += seconds;
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    }
  }
}

/** Names of codes for people, with what to do; else the service's own words. @param {unknown} error */
export const reason = (error) =>
  error instanceof ApiError ? named("error", error.code, error.message) : error instanceof Error ? error.message : String(error);

/**
 * Cancels, retries or deletes one. Throws ApiError, but not for what is so already.
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
 * Does something with many, four at a time; in the end names those that it failed for.
 * @param {readonly Job[]} jobs
 * @param {(job: Job) => Promise<void>} one
 * @param {(done: number) => void} report
 */
export async function each(jobs, one, report) {
  /** @type {{ job: Job, why: string }[]} */
  const failed = [];
  const left = jobs.values();
  let done = 0;
  const work = async () => {
    for (const job of left) {
      await one(job).catch((error) => failed.push({ job, why: reason(error) }));
      report(++done);
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  if (!failed.length) return;
  const names = failed.map(({ job, why }) => h("li", {}, h("bdi", {}, job.source.filename), `: ${why}`));
  void show(t("jobs.not_all", { n: failed.length }), [h("ul", {}, names)], [{ text: t("page.close"), value: "" }]);
}

/**
 * @param {string} id
 * @param {string} format
 */
export const resultUrl = (id, format) => url(`jobs/${id}/result`, { format });

/**
 * Transcripts as files: one as it is, more as a zip.
 * @param {readonly Job[]} jobs
 * @param {string} format
 * @param {(done: number) => void} report
 */
export async function download(jobs, format, report) {
  if (jobs.length === 1) return save(resultUrl(jobs[0].id, format));
  /** @type {{ name: string, data: Uint8Array<ArrayBuffer> }[]} */
  const files = [];
  await each(
    jobs,
    async (job) => {
      const answer = await patiently(() => send("GET", `jobs/${job.id}/result`, { query: { format } }));
      const given = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get("Content-Disposition") ?? "");
      files.push({ name: decodeURIComponent(given?.[1] ?? `${job.id}.${format}`), data: new Uint8Array(await answer.arrayBuffer()) });
    },
    report,
  );
  if (!files.length) return;
  const made = URL.createObjectURL(zip(files));
  save(made, `${t("place.jobs")}.zip`);
  setTimeout(() => URL.revokeObjectURL(made), 60_000);
}

/**
 * @param {string} address
 * @param {string} [name] the service knows better, mostly
 */
export function save(address, name = "") {
  h("a", { href: address, download: name }).click();
}
