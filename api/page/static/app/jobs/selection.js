/** The jobs that are ticked, and the bar with what can be done with all of them. */

import { fill, h, icon } from "../core/dom.js";
import { t } from "../core/words.js";
import { CAN } from "./actions.js";

/** @typedef {import("./feed.js").Job} Job */
/** @typedef {import("./actions.js").Action} Action */

const ICONS = /** @type {const} */ ({ download: "down", retry: "retry", cancel: "stop", delete: "remove" });

export class Selection {
  /**
   * @param {HTMLElement} list in which the boxes are
   * @param {(id: string) => Job | undefined} known
   * @param {(action: Action, jobs: Job[], button: HTMLElement) => void} act
   */
  constructor(list, known, act) {
    this.list = list;
    this.known = known;
    /** @type {Set<string>} */
    this.ids = new Set();
    /** @type {string | null} where a range begins */
    this._from = null;
    this._count = h("strong", { class: "numbers" });
    this._progress = h("progress", { hidden: true });
    this._buttons = /** @type {Action[]} */ (Object.keys(ICONS)).map((action) => ({
      action,
      button: h("button", { type: "button", class: `button ${action === "delete" ? "danger" : ""}`, onclick: (/** @type {any} */ event) => act(action, this.jobs(action), event.currentTarget) }, icon(ICONS[action]), t(`jobs.${action}`)),
    }));
    this.bar = h("section", { class: "picked card", hidden: true, "aria-label": t("jobs.selection") },
      this._count, this._progress,
      h("button", { type: "button", class: "button quiet", onclick: () => this.pick(this._boxes(), true) }, t("jobs.select_all")),
      h("span", { class: "row" }, this._buttons.map(({ button }) => button)),
      h("button", { type: "button", class: "icon-button", "aria-label": t("jobs.select_none"), onclick: () => this.clear() }, icon("close")),
    );
    list.addEventListener("click", (event) => {
      if (!(event.target instanceof HTMLInputElement)) return;
      const boxes = this._boxes();
      const at = boxes.indexOf(event.target);
      const from = event.shiftKey ? boxes.findIndex((box) => idOf(box) === this._from) : -1;
      this._from = idOf(event.target);
      this.pick(from < 0 ? [event.target] : boxes.slice(Math.min(at, from), Math.max(at, from) + 1), event.target.checked);
    });
  }

  /** Those that can be seen, in their order. @returns {HTMLInputElement[]} */
  _boxes() {
    return /** @type {HTMLInputElement[]} */ ([...this.list.querySelectorAll("ul:not([hidden]) > .job > .pick > input")]);
  }

  /** @param {Action} action of which one can be done with each of them */
  jobs(action) {
    return [...this.ids].map(this.known).filter((job) => job !== undefined && CAN[action](job)).map((job) => /** @type {Job} */ (job));
  }

  /**
   * @param {HTMLInputElement[]} boxes
   * @param {boolean} on
   */
  pick(boxes, on) {
    for (const box of boxes) {
      box.checked = on;
      if (on) this.ids.add(idOf(box));
      else this.ids.delete(idOf(box));
    }
    this.draw();
  }

  /**
   * What is being done with many, and how far.
   * @param {string} text
   * @param {number} done
   * @param {number} all
   */
  progress(text, done, all) {
    this._progress.hidden = done === all;
    this._progress.value = done / all;
    this._progress.ariaLabel = text;
  }

  clear() {
    this.ids.clear();
    this.pick(this._boxes(), false);
  }

  draw() {
    this.bar.hidden = !this.ids.size;
    fill(this._count, t("jobs.selected", { n: this.ids.size }));
    if (this.ids.size) for (const { action, button } of this._buttons) button.disabled = !this.jobs(action).length;
  }
}

/** @param {HTMLElement} box */
const idOf = (box) => box.closest("li")?.dataset.key ?? "";
