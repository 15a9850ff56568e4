/** Finds and replaces in the whole transcript, not only in what is on the screen. */

import { h, icon } from "../core/dom.js";
import { t } from "../core/words.js";
import { retext } from "./segments.js";

/** @typedef {{ key: string, from: number, to: number }} Match letters of a segment's text */

const ROOM = 90; // pixels at the top that other things lie over

export class Finder {
  /** @param {{ transcript: import("./model.js").Transcript, list: import("./list.js").SegmentList, history: import("./history.js").History, canEdit: () => boolean }} desk */
  constructor(desk) {
    this.desk = desk;
    /** @type {Match[]} */
    this.matches = [];
    this.current = -1;
    this.input = h("input", { type: "search", "aria-label": t("find.what"), placeholder: t("find.what"), autocomplete: "off", oninput: () => this.search(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.press(event, () => this.step(event.shiftKey ? -1 : 1)) });
    this.by = h("input", { "aria-label": t("find.by"), placeholder: t("find.by"), autocomplete: "off", onkeydown: (/** @type {KeyboardEvent} */ event) => this.press(event, () => this.replace()) });
    this.count = h("span", { class: "small soft numbers", role: "status" });
    const check = (/** @type {import("../core/words.js").Key} */ name) => h("input", { type: "checkbox", name, onchange: () => this.search() });
    this.capitals = check("find.capitals");
    this.whole = check("find.whole");
    this.pattern = check("find.pattern");
    const act = (/** @type {import("../core/words.js").Key} */ name, /** @type {() => void} */ onclick) => h("button", { type: "button", class: "button", onclick }, t(name));
    const sign = (/** @type {import("../core/words.js").Key} */ name, /** @type {"back" | "close"} */ image, /** @type {() => void} */ onclick, more = "") => h("button", { type: "button", class: `icon-button ${more}`, "aria-label": t(name), title: t(name), onclick }, icon(image));
    this.one = act("find.replace", () => this.replace());
    this.all = act("find.all", () => this.replaceAll());
    this.element = h(
      "div",
      { class: "find card", role: "search", "aria-label": t("find.find"), hidden: true },
      h("div", { class: "row" }, this.input, this.count, sign("find.previous", "back", () => this.step(-1), "up"), sign("find.next", "back", () => this.step(1), "down"), sign("page.close", "close", () => this.close())),
      h("div", { class: "row" }, this.by, this.one, this.all),
      h("div", { class: "row small" }, [this.capitals, this.whole, this.pattern].map((box) => h("label", { class: "check" }, box, t(/** @type {import("../core/words.js").Key} */ (box.name))))),
    );
    desk.transcript.addEventListener("change", () => !this.element.hidden && this.search(false));
    desk.list.addEventListener("render", () => this.paint());
  }

  open() {
    const chosen = getSelection()?.toString().trim() ?? "";
    this.element.hidden = false;
    if (chosen && !chosen.includes("\n") && chosen.length < 80) this.input.value = chosen;
    this.input.focus();
    this.input.select();
    this.search();
  }

  close() {
    const { list } = this.desk;
    const match = this.matches[this.current];
    this.element.hidden = true;
    this.matches = [];
    this.paint();
    const row = match && list.rowOf(match.key);
    /** @type {HTMLElement | null | undefined} */ (row?.querySelector(".said[contenteditable]") ?? row?.querySelector(".time"))?.focus();
  }

  /**
   * @param {KeyboardEvent} event
   * @param {() => void} enter
   */
  press(event, enter) {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    if (event.key === "Enter") enter();
    else this.close();
  }

  /** What is looked for; null: nothing, or no pattern. */
  sought() {
    const text = this.input.value;
    if (!text) return null;
    const plain = this.pattern.checked ? text : text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
    const whole = this.whole.checked ? `(?<![\\p{L}\\p{N}_])(?:${plain})(?![\\p{L}\\p{N}_])` : plain;
    try {
      return new RegExp(whole, this.capitals.checked ? "gu" : "giu");
    } catch {
      return null;
    }
  }

  /** @param {boolean} [go] to the first match from what is on the screen on */
  search(go = true) {
    const { transcript, list, canEdit } = this.desk;
    const sought = this.sought();
    this.input.ariaInvalid = String(!!this.input.value && !sought);
    const before = this.matches[this.current];
    this.matches = [];
    if (sought) {
      for (const { key, text } of transcript.segments) {
        for (const found of text.matchAll(sought)) if (found[0]) this.matches.push({ key, from: found.index, to: found.index + found[0].length });
      }
    }
    if (go) {
      const top = ROOM - list.element.getBoundingClientRect().top;
      this.current = this.matches.length ? this.matches.findIndex(({ key }) => list.tops[list.places.get(key) ?? 0] >= top) : -1;
      if (this.matches.length && this.current < 0) this.current = 0;
    } else this.current = this.matches.findIndex(({ key, from }) => key === before?.key && from >= before.from);
    this.one.disabled = this.all.disabled = !this.matches.length || !canEdit();
    this.show(go);
  }

  /** @param {1 | -1} by */
  step(by) {
    const { length } = this.matches;
    if (!length) return;
    this.current = (Math.max(this.current, by < 0 ? 0 : -1) + by + length) % length;
    this.show();
  }

  show(go = true) {
    const match = this.matches[this.current];
    const { list, transcript } = this.desk;
    this.count.textContent = this.input.value ? (match ? t("find.count", { m: this.current + 1, n: this.matches.length }) : t("find.none", { n: this.matches.length })) : "";
    if (match && go) {
      const row = list.rowOf(match.key)?.getBoundingClientRect();
      if (!row || row.top < ROOM || row.bottom > innerHeight - 130) list.scrollTo(transcript.segments.findIndex(({ key }) => key === match.key));
    }
    this.paint();
  }

  /** Marks what is found in the rows that there are. */
  paint() {
    if (!CSS.highlights) return;
    const found = new Highlight();
    const now = new Highlight();
    now.priority = 1;
    for (const [n, { key, from, to }] of this.matches.entries()) {
      const said = this.desk.list.rowOf(key)?.querySelector(".said");
      if (said) (n === this.current ? now : found).add(rangeOf(said, from, to));
    }
    CSS.highlights.set("found", found);
    CSS.highlights.set("found-now", now);
  }

  /** @param {string} text @param {RegExp} sought */
  replaced(text, sought) {
    return this.pattern.checked ? text.replace(sought, this.by.value) : text.replace(sought, () => this.by.value);
  }

  replace() {
    const match = this.matches[this.current];
    const sought = this.sought();
    if (!match || !sought || !this.desk.canEdit()) return;
    const { history } = this.desk;
    const { key, from, to } = match;
    const once = (/** @type {string} */ text) => {
      const part = text.slice(from, to);
      // as a pattern it may look at what is around it, and then finds nothing alone
      const by = this.pattern.checked && part.replace(sought, "") !== part ? this.replaced(part, sought) : this.by.value;
      return text.slice(0, from) + by + text.slice(to);
    };
    history.apply({ segments: history.state.segments.map((one) => (one.key === key ? retext(one, once(one.text)) : one)) });
    if (this.current < 0 && this.matches.length) this.current = 0;
    this.show();
  }

  replaceAll() {
    const sought = this.sought();
    if (!sought || !this.matches.length || !this.desk.canEdit()) return;
    const { history } = this.desk;
    const { length } = this.matches;
    const keys = new Set(this.matches.map(({ key }) => key));
    history.apply({ segments: history.state.segments.map((one) => (keys.has(one.key) ? retext(one, this.replaced(one.text, sought)) : one)) });
    this.count.textContent = t("find.done", { n: length });
  }
}

/**
 * @param {Element} said
 * @param {number} from
 * @param {number} to
 */
function rangeOf(said, from, to) {
  const range = new Range();
  const texts = document.createTreeWalker(said, NodeFilter.SHOW_TEXT);
  for (let done = 0; texts.nextNode(); ) {
    const length = texts.currentNode.textContent?.length ?? 0;
    if (from >= done && from < done + length) range.setStart(texts.currentNode, from - done);
    if (to > done && to <= done + length) range.setEnd(texts.currentNode, to - done);
    done += length;
  }
  return range;
}
