/** Where files are dropped or chosen, what is wanted of them, and how far they have come. */

import { h, icon, keyed } from "../core/dom.js";
import { size, span, t } from "../core/words.js";
import { sure } from "../ui/dialog.js";
import { tell, tellError } from "../ui/toast.js";
import { addressForm } from "./address.js";
import { isMoving, row, update } from "./entry.js";
import { dropped, recordings } from "./files.js";
import { optionsForm } from "./options.js";
import { uploads } from "./uploads.js";

const SHOWN = 8;
const ORDER = ["refused", "missing", "failed", "sending", "retrying", "paused", "waiting"];

/**
 * Takes what is dropped anywhere on the page until `signal` is aborted; what is under way goes on behind other views.
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function uploadPanel(signal) {
  const options = optionsForm(signal);
  const entries = h("ul", { class: "plain uploads" });
  const count = h("p", { class: "numbers" });
  const bar = h("progress", { "aria-label": t("upload.title") });
  const pause = h("button", { type: "button", class: "button quiet", onclick: () => {
    const moving = uploads.items.filter(isMoving);
    // the waiting ones first: they would begin in the place of the others
    if (moving.length) moving.toReversed().forEach((item) => uploads.pause(item));
    else uploads.items.filter(({ state }) => state === "paused").forEach((item) => uploads.resume(item, options.values()));
  } });
  const cancel = h("button", { type: "button", class: "button quiet", onclick: async () => {
    const left = uploads.items.toReversed();
    if (await sure(t("upload.cancel_all"), t("upload.cancel_hint", { n: left.length }), t("upload.cancel_all"))) left.forEach((item) => uploads.cancel(item));
  } }, t("upload.cancel_all"));
  const total = h("div", { class: "upload-total" }, h("div", { class: "row spread" }, count, h("div", {}, pause, cancel)), bar);
  const more = h("p", { class: "soft small" });
  const said = h("p", { class: "visually-hidden", role: "status" });

  /** @param {import("./files.js").Chosen} chosen */
  async function take({ files, folder, left }) {
    if (left) tell(t("upload.left_out", { n: left }));
    if (files.length) await uploads.add(files, options.values(), folder);
    else if (!left) tell(t("upload.nothing"));
  }

  /** @param {string} text @param {boolean} folder @param {string} kind */
  function chooser(text, folder, kind) {
    const input = h("input", {
      ...{ type: "file", multiple: true, hidden: true, webkitdirectory: folder, "aria-label": text },
      onchange: () => {
        void take(recordings(input.files ?? []));
        input.value = "";
      },
    });
    return [input, h("button", { type: "button", class: `button ${kind}`, onclick: () => input.click() }, text)];
  }

  const address = addressForm(options, signal);
  const files = chooser(t("upload.choose"), false, "main");
  const element = h(
    "section",
    { class: "upload", "aria-label": t("upload.title") },
    h(
      "div",
      { class: "upload-drop" },
      h("p", { class: "upload-hint" }, icon("up"), h("span", {}, t("upload.drop"))),
      h("div", { class: "row" }, files, chooser(t("upload.choose_folder"), true, ""), address.button),
      address.form,
      options.element,
    ),
    said,
    total,
    entries,
    more,
  );

  function show() {
    const { items, done } = uploads;
    const sorted = items.length > SHOWN ? items.toSorted((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state)) : items;
    keyed(entries, sorted.slice(0, SHOWN), ({ id }) => id, (item) => row(item, options, () => files[0]?.click()), update);
    more.textContent = items.length > SHOWN ? t("upload.more", { n: items.length - SHOWN }) : "";
    const sum = (/** @type {(item: import("./uploads.js").Item) => number} */ of) => items.reduce((all, item) => all + of(item), 0);
    const all = items.length + done.files;
    const [bytes, sent, speed] = [done.bytes + sum((item) => item.size), done.bytes + sum((item) => item.sent), sum((item) => item.speed)];
    const far = t("upload.count", { done: done.files, n: all });
    if (done.files && said.textContent !== far) said.textContent = far;
    total.hidden = !items.length || all < 2;
    count.textContent = [far, t("upload.of", { sent: size(sent), size: size(bytes) }), speed && t("upload.left", { time: span((bytes - sent) / speed) })].filter(Boolean).join(" · ");
    pause.textContent = t(items.some(isMoving) ? "upload.pause_all" : "upload.resume_all");
    Object.assign(bar, { max: bytes || 1, value: sent });
  }

  listen(element, (chosen) => chosen.then(take, tellError), signal);
  uploads.addEventListener("change", show, { signal });
  uploads.addEventListener("refused", (event) => void options.tell(/** @type {CustomEvent<import("../core/api.js").ApiError>} */ (event).detail), { signal });
  uploads.go();
  show();
  return element;
}

/** @type {(element: HTMLElement, take: (chosen: Promise<import("./files.js").Chosen>) => void, signal: AbortSignal) => void} */
function listen(element, take, signal) {
  const isFiles = (/** @type {DragEvent} */ { dataTransfer }) => dataTransfer?.types.includes("Files");
  const mark = (/** @type {boolean} */ over) => element.classList.toggle("over", over);
  document.addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    mark(true);
  }, { signal });
  document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget || mark(false), { signal });
  document.addEventListener("drop", (event) => {
    mark(false);
    if (!isFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    take(dropped(event.dataTransfer));
  }, { signal });
}
