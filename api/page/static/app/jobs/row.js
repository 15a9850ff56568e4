/** The line of a job. What can have the focus stays, the rest follows the job. */

import { fill, h, icon } from "../core/dom.js";
import { to } from "../core/router.js";
import { chosenLanguage, clock, moment, named, percentage, size, span, t } from "../core/words.js";
import { CAN } from "./actions.js";

/** @typedef {import("./feed.js").Job} Job */
/** @typedef {import("./feed.js").Hit} Hit */

/** What lines show, so that those of unchanged jobs are left alone. @type {WeakMap<HTMLElement, Job>} */
const drawn = new WeakMap();
const languages = new Intl.DisplayNames(chosenLanguage(), { type: "language" });

/** @param {string} name of what it is about @param {string} does */
export const menuButton = (name, does) =>
  h("button", { type: "button", class: "icon-button", "data-do": does, "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": t("jobs.menu", { name }) }, icon("more"));

/** @param {import("../core/dom.js").Child[]} told */
export const facts = (told) => h("p", { class: "facts soft small numbers" }, told.filter(Boolean).map((one) => h("span", {}, one)));

/** @param {number} percent @param {string} doing @param {number | null} [left] seconds */
export const bar = (percent, doing, left) =>
  h("div", { class: "job-bar" }, h("progress", { max: 100, value: percent, "aria-label": doing }), facts([doing, percentage(percent), left && t("jobs.left", { time: span(left) })]));

/** @param {string} status @param {string} text */
export const badge = (status, text) =>
  h("span", { class: `badge ${{ completed: "good", failed: "bad", warned: "doubt" }[status] ?? ""}` }, status === "completed" && icon("check"), text);

/** @param {Hit["segments"][0]["snippet"]} parts */
const marked = (parts) => parts.map(({ text, match }) => (match ? h("mark", {}, text) : text));

/**
 * @param {Job} job
 * @param {boolean} picked
 * @param {Hit} [hit]
 */
export function row(job, picked, hit) {
  const name = job.source.filename;
  const made = h("li", { class: "job" },
    h("label", { class: "pick" }, h("input", { type: "checkbox", checked: picked, "aria-label": t("jobs.select", { name }) })),
    h("div", {}, h("a", { class: "job-name", href: to(["jobs", job.id]) }), h("div")),
    h("div", { class: "job-badges" }),
    menuButton(name, "menu"));
  update(made, job, hit);
  return made;
}

/**
 * @param {HTMLElement} made by `row`
 * @param {Job} job
 * @param {Hit} [hit]
 */
export function update(made, job, hit) {
  if (drawn.get(made) === job) return;
  drawn.set(made, job);
  const { id, params, audio, source, language, status, progress, error } = job;
  const warned = job.warnings.map(({ message }) => message).join(" ");
  const [name, more] = made.children[1].children;
  fill(name, h("bdi", {}, hit?.name ? marked(hit.name) : source.filename));
  fill(made.children[2],
    job.partial && badge("warned", t("jobs.partial")),
    warned && h("span", { class: "badge doubt", title: warned }, t("jobs.warnings", { n: job.warnings.length }), h("span", { class: "visually-hidden" }, `: ${warned}`)),
    badge(status, named("status", status)));
  fill(more,
    facts([
      h("time", { dateTime: job.created_at, title: moment(job.created_at, true) }, moment(job.created_at)),
      audio.duration ? span(audio.duration) : source.bytes && size(source.bytes),
      language && languages.of(language.code),
      h("bdi", {}, params.model),
      params.task === "translate" && t("jobs.translated"),
      params.diarize && t("jobs.diarized"),
      job.revision > 0 && t("jobs.edited"),
      job.retry_of && t("jobs.again"),
    ]),
    (status === "processing" || status === "cancelling") && bar(progress.percent, named("stage", progress.stage), progress.eta_seconds),
    error && h("div", { class: "fault small" },
      h("p", { title: error.message }, named("error", error.code, error.message)),
      error.retryable && CAN.retry(job) && h("button", { type: "button", class: "button", "data-do": "retry" }, icon("retry"), t("jobs.retry"))),
    hit && h("ul", { class: "plain hits small", "aria-label": t("jobs.said") }, hit.segments.map(({ start, snippet }) =>
      h("li", {}, h("a", { class: "numbers", href: to(["jobs", id], { t: String(start) }) }, clock(start)), h("span", { dir: "auto" }, marked(snippet))))));
}
