/** What somebody wants to see: said above the list, and in the address. */

import { h, icon } from "../core/dom.js";
import { here, note } from "../core/router.js";
import { named, t } from "../core/words.js";
import { STATUSES } from "./feed.js";

const CHOICES = { status: ["", ...Object.keys(STATUSES)], time: ["", "today", "week"], sort: ["", "oldest", "name", "length"] };

/** @returns {import("./feed.js").Wanted} */
export function wanted() {
  const { query } = here();
  const q = (query.get("q") ?? "").slice(0, 200);
  const one = (/** @type {keyof typeof CHOICES} */ name) => CHOICES[name].find((choice) => choice === query.get(name)) ?? "";
  // the service refuses what has neither letter nor digit
  return { q: /[\p{L}\p{N}]/u.test(q) ? q : "", status: one("status"), time: one("time"), sort: one("sort") };
}

/**
 * @param {() => void} changed
 * @param {AbortSignal} signal
 */
export function filters(changed, signal) {
  let timer = 0;
  const say = (/** @type {Record<string, string>} */ query) => signal.aborted || (note(query), changed());
  const oninput = () => (clearTimeout(timer), (timer = window.setTimeout(() => say({ q: search.value.trim() }), 300)));
  const search = h("input", { type: "search", maxLength: 200, placeholder: t("jobs.search"), "aria-label": t("jobs.search"), oninput });
  const selects = Object.entries(CHOICES).map(([name, choices]) => {
    const made = h("select", { name, "aria-label": named("jobs", `by_${name}`), onchange: () => say({ [name]: made.value }) },
      choices.map((choice) => h("option", { value: choice }, named("jobs", `${name}_${choice || "all"}`, named("status", choice)))));
    return made;
  });
  const read = () => {
    const now = wanted();
    if (document.activeElement !== search) search.value = now.q;
    for (const select of selects) select.value = now[/** @type {keyof typeof now} */ (select.name)];
  };
  addEventListener("hashchange", () => (read(), changed()), { signal });
  read();
  return h("search", { class: "filters" }, h("div", { class: "search" }, icon("find"), search), selects);
}
