/** What somebody wants to see of the list: said above it, and in the address. */

import { h, icon } from "../core/dom.js";
import { here, note } from "../core/router.js";
import { named, t } from "../core/words.js";
import { STATUSES } from "./feed.js";

/** @typedef {import("./feed.js").Wanted} Wanted */

const CHOICES = { status: ["", ...Object.keys(STATUSES)], time: ["", "today", "week"], sort: ["", "oldest", "name", "length"] };

/** @returns {Wanted} */
export function wanted() {
  const { query } = here();
  const q = (query.get("q") ?? "").trim().slice(0, 200);
  /** @param {keyof typeof CHOICES} name */
  const one = (name) => CHOICES[name].find((choice) => choice === query.get(name)) ?? "";
  // the service refuses what has neither letter nor digit
  return { q: /[\p{L}\p{N}]/u.test(q) ? q : "", status: one("status"), time: one("time"), sort: one("sort") };
}

/**
 * @param {() => void} changed
 * @param {AbortSignal} signal
 */
export function filters(changed, signal) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @param {Record<string, string>} query */
  const say = (query) => (note(query), changed());
  const search = h("input", {
    type: "search",
    maxLength: 200,
    placeholder: t("jobs.search"),
    "aria-label": t("jobs.search"),
    oninput: () => (clearTimeout(timer), (timer = setTimeout(() => say({ q: search.value.trim() }), 300))),
  });
  const chosen = Object.entries(CHOICES).map(([name, choices]) => {
    const options = choices.map((choice) => h("option", { value: choice }, named("jobs", `${name}_${choice || "all"}`)));
    return h("select", { name, "aria-label": named("jobs", `by_${name}`), onchange: (/** @type {any} */ event) => say({ [name]: event.target.value }) }, options);
  });
  const read = () => {
    const { query } = here();
    if (document.activeElement !== search) search.value = query.get("q") ?? "";
    for (const select of chosen) select.value = query.get(select.name) ?? "";
  };
  addEventListener("hashchange", () => (read(), changed()), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  read();
  return h("search", { class: "filters" }, h("div", { class: "search" }, icon("find"), search), chosen);
}
