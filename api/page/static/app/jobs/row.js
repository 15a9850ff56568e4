/** The line of one job. What may be focused stays, the rest follows the job. */

import { fill, h, icon } from "../core/dom.js";
import { to } from "../core/router.js";
import { chosenLanguage, clock, moment, named, percentage, size, span, t } from "../core/words.js";
import { CAN } from "./actions.js";

/** @typedef {import("./feed.js").Schemas} Schemas */
/** @typedef {import("./feed.js").Job} Job */
/** @typedef {import("./feed.js").Hit} Hit */
/** @typedef {import("../core/dom.js").Child} Child */

/** What a line shows, so that what has not changed is left alone. @type {WeakMap<HTMLElement, { job: Job, hit?: Hit }>} */
const drawn = new WeakMap();

/**
 * @param {Job} job
 * @param {Hit} [hit]
 * @param {boolean} [picked]
 */
export function row(job, hit, picked = false) {
  const name = job.source.filename;
  const made = h(
    "li",
    { class: "job" },
    h("label", { class: "pick" }, h("input", { type: "checkbox", checked: picked, "aria-label": t("jobs.select", { name }) })),
    h("div", { class: "job-body" }, h("a", { class: "job-name", href: to(["jobs", job.id]) }, h("bdi", {}, name)), h("div", { class: "job-more" })),
    h("div", { class: "job-badges" }),
    h("button", { type: "button", class: "icon-button", "data-do": "menu", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": t("jobs.menu", { name }) }, icon("more")),
  );
  update(made, job, hit);
  return made;
}

/**
 * @param {HTMLElement} made by `row`
 * @param {Job} job
 * @param {Hit} [hit]
 */
export function update(made, job, hit) {
  const before = drawn.get(made);
  if (before?.job === job && before.hit === hit) return;
  drawn.set(made, { job, hit });
  const [, body, badges] = made.children;
  const [name, more] = body.children;
  if (hit?.name) fill(name, h("bdi", {}, marked(hit.name)));
  made.dataset.status = job.status;
  fill(badges, ...badgesOf(job));
  if (document.activeElement !== document.body && more.contains(document.activeElement) && before?.job.status === job.status) return;
  fill(more, facts(job), running(job), fault(job), hit && found(job, hit));
}

/** @param {Schemas["PartBody"][]} parts */
const marked = (parts) => parts.map(({ text, match }) => (match ? h("mark", {}, text) : text));

/** @param {Job} job */
function badgesOf(job) {
  const { status } = job;
  const kind = { completed: "good", failed: "bad" }[/** @type {string} */ (status)] ?? "";
  const warned = job.warnings.map(({ message }) => message).join(" ");
  return [
    job.partial && h("span", { class: "badge doubt" }, t("jobs.partial")),
    warned && h("span", { class: "badge doubt", title: warned }, icon("warning"), t("jobs.warnings", { n: job.warnings.length }), h("span", { class: "visually-hidden" }, `: ${warned}`)),
    h("span", { class: `badge ${kind}` }, status === "completed" && icon("check"), named("status", status)),
  ];
}

/** @param {Job} job */
function facts(job) {
  const { params, audio, source, language } = job;
  const bytes = source.bytes ?? null;
  /** @type {Child[]} */
  const told = [
    h("time", { dateTime: job.created_at, title: moment(job.created_at, true) }, moment(job.created_at)),
    audio.duration ? span(audio.duration) : bytes !== null && size(bytes),
    language && languageName(language.code),
    h("bdi", {}, params.model),
    params.task === "translate" && t("jobs.translated"),
    params.diarize && t("jobs.diarized"),
    job.revision > 0 && t("jobs.edited"),
    job.retry_of && t("jobs.again"),
  ];
  return h("p", { class: "facts soft small numbers" }, told.filter(Boolean).map((one) => h("span", {}, one)));
}

/** @param {string} code */
function languageName(code) {
  try {
    return new Intl.DisplayNames(chosenLanguage(), { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

/**
 * How far something is, and how long it takes.
 * @param {number} percent
 * @param {string} doing
 * @param {number | null | undefined} left seconds
 */
export function bar(percent, doing, left) {
  return h(
    "div",
    { class: "job-bar" },
    h("progress", { max: 100, value: percent, "aria-label": doing }),
    h("span", { class: "small soft numbers" }, [doing, percentage(percent), left !== null && left !== undefined && t("jobs.left", { time: span(left) })].filter(Boolean).join(" · ")),
  );
}

/** @param {Job} job */
function running({ status, progress }) {
  if (status !== "processing" && status !== "cancelling") return null;
  return bar(progress.percent, named("stage", progress.stage), progress.eta_seconds);
}

/** @param {Job} job */
function fault(job) {
  if (!job.error) return null;
  const { code, message, retryable } = job.error;
  const again = retryable && CAN.retry(job) && h("button", { type: "button", class: "button", "data-do": "retry" }, icon("retry"), t("jobs.retry"));
  return h("div", { class: "fault small" }, h("p", { title: message }, named("error", code, message)), again);
}

/**
 * @param {Job} job
 * @param {Hit} hit
 */
function found(job, hit) {
  if (!hit.segments.length) return null;
  return h(
    "ul",
    { class: "plain hits small", "aria-label": t("jobs.said") },
    hit.segments.map(({ start, snippet }) =>
      h("li", {}, h("a", { class: "numbers", href: to(["jobs", job.id], { t: String(start) }) }, clock(start)), h("span", { dir: "auto" }, marked(snippet))),
    ),
  );
}
