/** What settings and administration are built of. */

import { fill, h, icon, keyed } from "../core/dom.js";
import { number, size, span, t } from "../core/words.js";
import { show } from "../ui/dialog.js";
import { tellError } from "../ui/toast.js";
import { refusal } from "./login.js";

/** @typedef {import("../core/dom.js").Child} Child */
/** @typedef {{ key: string, cells: Child[] }} Row the first cell is its heading */

/** @param {string} title @param {...(Child | Child[])} content */
export const card = (title, ...content) => h("section", { class: "card stack", "aria-label": title }, h("h2", {}, title), ...content);

/** @param {string} text @param {() => unknown} run its errors are told @param {string} [kind] */
export function button(text, run, kind = "") {
  const onclick = () => Promise.resolve().then(run).catch(tellError);
  return h("button", { type: "button", class: `button ${kind}`, onclick }, text);
}

/** @param {Child} text @param {string} [kind] */
export const badge = (text, kind = "") => h("span", { class: `badge ${kind}` }, text);

/** @param {(Child | Child[])[]} lines the first is what matters */
export const lines = (...lines) => h("div", {}, lines.map((line, n) => line && h("div", { class: n ? "soft small" : "row" }, line)));

/** @param {string} text @param {HTMLElement} input */
export const field = (text, input) => h("label", { class: "field" }, h("span", {}, text), input);

/** @param {string} title @param {string[]} names @param {string[]} chosen */
export function checks(title, names, chosen) {
  const boxes = names.map((value) => h("input", { type: "checkbox", value, checked: chosen.includes(value) }));
  return {
    part: h("fieldset", { class: "checks" }, h("legend", {}, title), boxes.map((box) => h("label", { class: "check" }, box, box.value))),
    chosen: () => boxes.filter((box) => box.checked).map((box) => box.value),
  };
}

/**
 * A table that is shown anew: what has not changed stays, with its focus. On phones each row is a card.
 * @param {string} name
 * @param {string[]} headings
 */
export function table(name, headings) {
  const body = h("tbody", { role: "rowgroup" });
  const empty = h("p", { class: "soft" }, t("admin.none"));
  const head = h("tr", { role: "row" }, headings.map((text) => h("th", { scope: "col", role: "columnheader" }, text)));
  const made = h("table", { class: "table", role: "table", "aria-label": name }, h("thead", { role: "rowgroup" }, head), body);
  const cell = (/** @type {Child} */ content, /** @type {number} */ n) =>
    n ? h("td", { role: "cell", "data-label": headings[n] }, content) : h("th", { scope: "row", role: "rowheader" }, content);
  const update = (/** @type {HTMLElement} */ { children }, /** @type {Row} */ row) =>
    row.cells.forEach((content, n) => {
      const now = cell(content, n);
      if (now.textContent !== children[n].textContent) children[n].replaceWith(now);
    });
  return {
    parts: [made, empty],
    /** @param {Row[]} rows */
    show(rows) {
      made.hidden = !rows.length;
      empty.hidden = !made.hidden;
      keyed(body, rows, (row) => row.key, (row) => h("tr", { role: "row" }, row.cells.map(cell)), update);
    },
  };
}

/** @param {[string, Child][]} facts */
export const tiles = (facts) => h("dl", { class: "tiles" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

/**
 * A figure in the unit that its name in the API tells; 0 is no limit.
 * @param {string} name
 * @param {number} value
 */
export function amount(name, value) {
  if (!value) return t("admin.unlimited");
  return /_mb/.test(name) ? size(value * 2 ** 20) : /bytes/.test(name) ? size(value) : /seconds/.test(name) ? span(value) : number(value);
}

/**
 * Does something at once and every so many seconds, while somebody looks. What it returns says why that fails.
 * @param {AbortSignal} signal
 * @param {number} seconds
 * @param {() => Promise<void>} look
 */
export function live(signal, seconds, look) {
  const trouble = h("p", { class: "notice bad", role: "alert", hidden: true });
  let looking = false;
  const again = async () => {
    if (looking || document.hidden) return;
    looking = true;
    try {
      await look();
      trouble.hidden = true;
    } catch (error) {
      if (trouble.hidden) fill(trouble, refusal(error));
      trouble.hidden = signal.aborted;
    }
    looking = false;
  };
  const timer = setInterval(again, 1000 * seconds);
  document.addEventListener("visibilitychange", again, { signal });
  signal.addEventListener("abort", () => clearInterval(timer));
  void again();
  return trouble;
}

/**
 * A form in a dialog, until it is sent well or given up: when it is refused, what was typed stays.
 * @template T
 * @param {string} title
 * @param {Child[]} content
 * @param {() => Promise<T>} save
 * @returns {Promise<T | null>}
 */
export async function fillIn(title, content, save) {
  const wrong = h("p", { class: "notice bad", role: "alert", hidden: true });
  while (await show(title, [wrong, ...content], [{ text: t("admin.create"), value: "yes", kind: "main" }])) {
    try {
      return await save();
    } catch (error) {
      fill(wrong, refusal(error));
      wrong.hidden = false;
    }
  }
  return null;
}

/** @param {string} title @param {string} secret shown once */
export async function showOnce(title, secret) {
  const text = h("input", { class: "mono", readOnly: true, value: secret, "aria-label": title });
  const copied = h("span", { class: "row", role: "status" });
  const copy = async () => {
    text.select();
    // no clipboard without TLS
    await navigator.clipboard?.writeText(secret).catch(() => null) ?? document.execCommand("copy");
    fill(copied, icon("check"), t("admin.copied"));
  };
  await show(title, [h("p", {}, t("admin.once")), text, h("div", { class: "row" }, button(t("admin.copy"), copy), copied)], [{ text: t("page.close"), value: "yes", kind: "main" }]);
}
