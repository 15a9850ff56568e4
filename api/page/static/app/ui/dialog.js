/** Questions that wait for an answer, in the browser's own dialog: Escape closes it, the keyboard stays inside. */

import { h, icon } from "../core/dom.js";
import { t } from "../core/words.js";

/**
 * Shows a dialog; resolves with what the pressed button stands for, or null.
 * @param {string} title
 * @param {import("../core/dom.js").Child[]} content
 * @param {{ text: string, value: string, kind?: "main" | "danger" }[]} buttons
 * @returns {Promise<string | null>}
 */
export function show(title, content, buttons) {
  const close = () => dialog.close();
  const dialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "dialog-title" },
    h("form", { method: "dialog" },
      h("header", {}, h("h2", { id: "dialog-title" }, title), h("button", { type: "button", class: "icon-button", "aria-label": t("page.close"), onclick: close }, icon("close"))),
      h("div", { class: "dialog-body" }, content),
      h("footer", {}, buttons.map(({ text, value, kind }) => h("button", { class: `button ${kind ?? ""}`, value }, text)))),
  );
  addEventListener("hashchange", close); // it belongs to what was shown
  document.body.append(dialog);
  const answered = new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      removeEventListener("hashchange", close);
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
  });
  dialog.showModal();
  return /** @type {Promise<string | null>} */ (answered);
}

/**
 * Whether somebody means it.
 * @param {string} title
 * @param {string} text
 * @param {string} yes
 * @param {"main" | "danger"} [kind]
 */
export async function sure(title, text, yes, kind = "danger") {
  return (await show(title, [h("p", {}, text)], [{ text: yes, value: "yes", kind }])) === "yes";
}
