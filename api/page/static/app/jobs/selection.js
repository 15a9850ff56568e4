/** The jobs that are ticked, and the bar with what can be done with all of them. */

import { h, icon } from "../core/dom.js";
import { t } from "../core/words.js";
import { CAN } from "./actions.js";

/** @typedef {import("./feed.js").Job} Job */
/** @typedef {import("./actions.js").Action} Action */

const ICONS = /** @type {const} */ ({ download: "down", retry: "retry", cancel: "stop", delete: "remove" });

const idOf = (/** @type {HTMLElement} */ box) => box.closest("li")?.dataset.key ?? "";

/**
 * @param {HTMLElement} list
 * @param {Set<string>} ids of what is ticked
 * @param {(id: string) => Job | undefined} known
 * @param {(action: Action, jobs: Job[], button: HTMLElement) => void} act
 */
export function selection(list, ids, known, act) {
  let last = "";
  const boxes = () => /** @type {HTMLInputElement[]} */ ([...list.querySelectorAll("ul:not([hidden]) > .job > .pick > input")]);
  const jobs = (/** @type {Action} */ action) => [...ids].map(known).filter((job) => job !== undefined).filter(CAN[action]);
  const pick = (/** @type {HTMLInputElement[]} */ found, /** @type {boolean} */ on) => {
    for (const box of found) {
      box.checked = on;
      if (on) ids.add(idOf(box));
      else ids.delete(idOf(box));
    }
    draw();
  };
  const clear = () => (ids.clear(), pick(boxes(), false));
  const count = h("strong", {});
  const done = h("progress", { hidden: true, "aria-label": t("jobs.selection") });
  const actions = /** @type {Action[]} */ (Object.keys(CAN));
  const buttons = actions.map((action, at) => h("button", { type: "button", class: "button", onclick: () => act(action, jobs(action), buttons[at]) }, icon(ICONS[action]), h("span", {}, t(`jobs.${action}`))));
  const bar = h("section", { class: "picked card", hidden: true, "aria-label": t("jobs.selection") },
    count,
    h("button", { type: "button", class: "button quiet", onclick: () => pick(boxes(), true) }, t("jobs.select_all")),
    h("span", { class: "row" }, buttons),
    h("button", { type: "button", class: "icon-button", "aria-label": t("jobs.select_none"), onclick: clear }, icon("close")),
    done);
  const draw = () => {
    if (!ids.size && bar.contains(document.activeElement)) list.focus();
    bar.hidden = !ids.size;
    count.textContent = t("jobs.selected", { n: ids.size });
    actions.forEach((action, at) => (buttons[at].disabled = !jobs(action).length));
  };
  list.addEventListener("click", ({ target, shiftKey }) => {
    if (!(target instanceof HTMLInputElement)) return;
    const all = boxes();
    const at = all.indexOf(target);
    const from = shiftKey ? all.findIndex((box) => idOf(box) === last) : -1;
    last = idOf(target);
    pick(from < 0 ? [target] : all.slice(Math.min(at, from), Math.max(at, from) + 1), target.checked);
  });
  return {
    bar,
    clear,
    draw,
    /** How far it is with many. @param {number} part 0 to 1 */
    progress(part) {
      done.hidden = part === 1;
      done.value = part;
    },
  };
}
