/** One file on its way, as a line of the list. */

import { h, icon, part } from "../core/dom.js";
import { named, percentage, size, span, t } from "../core/words.js";
import { uploads } from "./uploads.js";

/** @typedef {import("./uploads.js").Item} Item */

/** @param {Item} item */
export const isMoving = ({ state }) => ["sending", "retrying", "waiting"].includes(state);

/** @type {(item: Item, options: { values: () => Record<string, unknown> }, choose: () => void) => HTMLElement} */
export function row(item, options, choose) {
  const { name } = item;
  const act = () => {
    if (isMoving(item)) uploads.pause(item);
    else if (item.file) uploads.resume(item, options.values());
    else choose();
  };
  const cancel = () => {
    const near = made.nextElementSibling ?? made.previousElementSibling;
    (near ?? made.closest(".upload"))?.querySelector("button")?.focus(); // it would be lost with the line
    uploads.cancel(item);
  };
  const made = h(
    "li",
    { class: "upload-entry" },
    h("p", { class: "upload-name" }, h("bdi", { title: name }, name)),
    h("progress", { max: item.size, "aria-label": name }),
    h("p", { class: "upload-said small soft numbers" }),
    h("button", { type: "button", class: "icon-button", onclick: act }),
    h("button", { type: "button", class: "icon-button", "aria-label": t("upload.cancel", { name }), onclick: cancel }, icon("close")),
  );
  update(made, item);
  return made;
}

/** @type {(element: HTMLElement, item: Item) => void} */
export function update(element, item) {
  const { name, state, sent } = item;
  element.dataset.state = state;
  part("progress", HTMLProgressElement, element).value = sent;
  part(".upload-said", HTMLElement, element).textContent = words(item);
  const button = part("button", HTMLButtonElement, element);
  const act = isMoving(item) ? "pause" : state === "paused" ? "resume" : item.file ? "again" : "find";
  if (button.dataset.act === act) return;
  button.dataset.act = act;
  button.setAttribute("aria-label", t(`upload.${act}_one`, { name }));
  button.replaceChildren(icon(act === "pause" ? "pause" : act === "resume" ? "play" : act === "again" ? "retry" : "find"));
}

/** @param {Item} item */
function words({ state, sent, size: bytes, speed, error }) {
  const far = t("upload.of", { sent: size(sent), size: size(bytes) });
  const code = error && "code" in error ? String(error.code) : "";
  const why = code === "unreachable" && !navigator.onLine ? t("upload.offline") : named("error", code, named("upload", code, error?.message ?? ""));
  if (state === "sending") {
    if (!speed) return sent === bytes ? t("upload.storing") : far;
    return [far, t("upload.speed", { size: size(speed) }), t("upload.left", { time: span((bytes - sent) / speed) })].join(" · ");
  }
  if (state === "waiting") return [t("upload.waiting"), sent ? far : size(bytes)].join(" · ");
  if (state === "paused") return [t("upload.paused"), far].join(" · ");
  if (state === "missing") return t("upload.missing", { far: percentage((100 * sent) / bytes) });
  if (state === "retrying") return [why, t("upload.retrying"), far].join(" · ");
  return state === "refused" ? t("upload.refused") : why || t("upload.failed");
}
