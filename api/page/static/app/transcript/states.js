/** What is said when there is no transcript, and what goes with one: each with what to do. */

import { ApiError, ask } from "../core/api.js";
import { h, icon } from "../core/dom.js";
import { to } from "../core/router.js";
import { named, t } from "../core/words.js";
import { tellError } from "../ui/toast.js";

/** More than so many warnings are folded. */
const SHOWN = 2;

/**
 * @param {"h1" | "h2"} heading
 * @param {string} title
 * @param {string} text
 * @param {...import("../core/dom.js").Child} what to do about it
 */
function state(heading, title, text, ...what) {
  return h("section", { class: "card state", role: "status" }, h(heading, {}, title), h("p", {}, text), h("p", { class: "row" }, ...what, h("a", { class: "button quiet", href: "#/" }, t("page.home"))));
}

/** @param {import("../core/api.js").Schemas["JobBody"]} job that ended without a transcript */
export function ended(job) {
  const retry = h("button", { type: "button", class: "button main", onclick: () => ask("POST", `jobs/${job.id}/retry`).then((made) => (location.hash = to(["jobs", made.id])), tellError) }, icon("retry"), t("transcript.retry"));
  if (job.status !== "failed" || !job.error) return state("h2", t("transcript.cancelled"), t("transcript.cancelled_hint"), retry);
  const { code, message, retryable } = job.error;
  return state("h2", t("transcript.failed"), `${named("error", code, message)} ${t(retryable ? "transcript.failed_again" : "transcript.failed_file")}`, retry);
}

/** @param {unknown} error of asking for it; thrown again where it says nothing of the transcript */
export function missing(error) {
  if (!(error instanceof ApiError) || ![404, 410].includes(error.status)) throw error;
  const gone = error.status === 410 ? "expired" : "missing";
  return state("h1", t(`transcript.${gone}`), t(`transcript.${gone}_hint`));
}

/** @param {{ code: string, message: string }[]} warnings */
export function warningNotes(warnings) {
  const notes = warnings.map(({ code, message }) => {
    const plain = named("warning", code, "");
    return h("li", {}, icon("warning"), h("div", {}, plain || message, plain && h("div", { class: "small soft", lang: "en", dir: "auto" }, message)));
  });
  if (!notes.length) return null;
  const list = h("ul", { class: "plain warnings" }, notes);
  return h("div", { class: "notice" }, notes.length > SHOWN ? h("details", {}, h("summary", {}, t("transcript.warnings", { n: notes.length })), list) : list);
}
