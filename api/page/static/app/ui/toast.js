/** Short words at the edge of the page, read out by screen readers too. */

import { h, icon, part } from "../core/dom.js";
import { t } from "../core/words.js";

const SECONDS = { info: 6, error: 20 };

/**
 * @param {string} text
 * @param {{ kind?: "info" | "error", action?: { text: string, run: () => void } }} [more] action: one thing to do about it
 */
export function tell(text, { kind = "info", action } = {}) {
  const close = () => toast.remove();
  const toast = h(
    "div",
    { class: `toast ${kind}` },
    h("span", {}, text),
    action && h("button", { type: "button", class: "button quiet", onclick: () => (close(), action.run()) }, action.text),
    h("button", { type: "button", class: "icon-button", "aria-label": t("page.close"), onclick: close }, icon("close")),
  );
  part(".toasts", HTMLElement).append(toast);
  setTimeout(close, 1000 * SECONDS[kind]);
}

/** @param {unknown} error */
export function tellError(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  tell(error instanceof Error ? error.message : String(error), { kind: "error" });
}
