/** Finds and replaces in the whole transcript, not only in what is on the screen. */

import { h, icon } from "../core/dom.js";
import { t } from "../core/words.js";
import { retext } from "./segments.js";

/** @typedef {import("../core/words.js").Key} Key */
/** @typedef {{ key: string, from: number, to: number }} Match letters of a segment's text */

const ROOM = 90; // pixels at the top that other things lie over

export class Finder {
  /** @param {import("./typing.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    /** @type {Match[]} */
    this.matches = [];
    this.current = -1;
    const field = (/** @type {Key} */ name, /** @type {() => void} */ oninput, /** @type {(event: KeyboardEvent) => void} */ enter) => {
      const onkeydown = (/** @type {KeyboardEvent} */ event) => (event.key === "Enter" ? enter(event) : event.key === "Escape" && this.close());
      return h("input", { type: "search", "aria-label": t(name), placeholder: t(name), autocomplete: "off", oninput, onkeydown });
    };
    const check = (/** @type {Key} */ name) => h("input", { type: "checkbox", name, onchange: () => this.search() });
    const sign = (/** @type {Key} */ name, /** @type {"back" | "close"} */ image, /** @type {() => void} */ onclick, more = "") =>
      h("button", { type: "button", class: `icon-button ${more}`, "aria-label": t(name), title: t(name), onclick }, icon(image));
    const act = (/** @type {Key} */ name, /** @type {() => void} */ onclick) => h("button", { type: "button", class: "button", onclick }, t(name));
    this.input = field("find.what", () => this.search(), (event) => this.step(event.shiftKey ? -1 : 1));
    this.by = field("find.by", () => {}, () => this.replace(false));
    this.count = h("span", { class: "small soft numbers", role: "status" });
    this.capitals = check("find.capitals");
    this.whole = check("find.whole");
    this.pattern = check("find.pattern");
    this.acts = [act("find.replace", () => this.replace(false)), act("find.all", () => this.replace(true))];
    this.element = h(
      "div",
      { class: "find card", role: "search", "aria-label": t("find.find"), hidden: true },
      h("div", { class: "row" }, this.input, this.count, sign("find.previous", "back", () => this.step(-1), "up"), sign("find.next", "back", () => this.step(1), "down"), sign("page.close", "close", () => this.close())),
      h("div", { class: "row" }, this.by, this.acts),
      h("div", { class: "row small" }, [this.capitals, this.whole, this.pattern].map((box) => h("label", { class: "check" }, box, t(/** @type {Key} */ (box.name))))),
    );
    desk.transcript.addEventListener("change", () => !this.element.hidden && this.search(false));
    desk.list.addEventListener("render", () => this.paint());
  }

  open() {
    const chosen = getSelection()?.toString().trim() ?? "";
    this.element.hidden = false;
    if (chosen && !chosen.includes("\n") && chosen.length < 80) this.input.value = chosen;
    this.input.select();
    this.search();
  }

  close() {
    const row = this.desk.list.rowOf(this.matches[this.current]?.key ?? "");
    this.element.hidden = true;
    this.matches = [];
    this.paint();
    /** @type {HTMLElement | null | undefined} */ (row?.querySelector("[contenteditable], .time"))?.focus();
  }

  /** What is looked for; null: nothing, or no pattern. @param {string} flags */
  sought(flags) {
    const text = this.input.value;
    const plain = this.pattern.checked ? text : text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
    try {
      return text ? new RegExp(this.whole.checked ? `(?<![\\p{L}\\p{N}_])(?:${plain})(?![\\p{L}\\p{N}_])` : plain, this.capitals.checked ? flags : `${flags}i`) : null;
    } catch {
      return null;
    }
  }

  /** @param {boolean} [go] to the first match from what is on the screen on */
  search(go = true) {
    const { transcript, list, canEdit } = this.desk;
    const sought = this.sought("gu");
    const before = this.matches[this.current];
    this.input.ariaInvalid = String(!sought && !!this.input.value);
    this.matches = [];
    for (const { key, text } of sought ? transcript.segments : []) {
      for (const found of text.matchAll(/** @type {RegExp} */ (sought))) if (found[0]) this.matches.push({ key, from: found.index, to: found.index + found[0].length });
    }
    const top = ROOM - list.element.getBoundingClientRect().top;
    const place = (/** @type {string} */ key) => list.places.get(key) ?? 0;
    const from = this.matches.findIndex(({ key, from }) => (go || !before ? list.tops[place(key)] >= top : place(key) > place(before.key) || (key === before.key && from >= before.from)));
    this.current = from < 0 && this.matches.length ? 0 : from;
    for (const act of this.acts) act.disabled = !this.matches.length || !canEdit();
    this.show(go);
  }

  /** @param {1 | -1} by */
  step(by) {
    this.current = (this.current + by + this.matches.length) % (this.matches.length || 1);
    this.show(true);
  }

  /** @param {boolean} go */
  show(go) {
    const { list } = this.desk;
    const match = this.matches[this.current];
    this.count.textContent = this.input.value && t("find.count", { m: match ? this.current + 1 : 0, n: this.matches.length });
    const row = match && list.rowOf(match.key)?.getBoundingClientRect();
    if (go && match && (!row || row.top < ROOM || row.bottom > innerHeight - 130)) list.scrollTo(list.places.get(match.key) ?? 0);
    this.paint();
  }

  /** Marks what is found in the rows that there are. */
  paint() {
    if (!CSS.highlights) return;
    const [found, now] = [new Highlight(), new Highlight()];
    for (const [n, { key, from, to }] of this.matches.entries()) {
      const said = this.desk.list.rowOf(key)?.querySelector(".said");
      if (said) (n === this.current ? now : found).add(rangeOf(said, from, to));
    }
    CSS.highlights.set("found", found);
    CSS.highlights.set("found-now", now);
  }

  /** @param {boolean} all */
  replace(all) {
    const match = this.matches[this.current];
    const [sought, once] = [this.sought("gu"), this.sought("u")];
    const { history, canEdit } = this.desk;
    if (!match || !sought || !once || !canEdit()) return;
    const { length } = this.matches;
    const by = this.by.value;
    const changed = (/** @type {import("./model.js").Segment} */ one) => {
      if (!all && one.key !== match.key) return one;
      if (all && this.pattern.checked) return retext(one, one.text.replace(sought, by));
      return retext(one, one.text.replace(sought, (found, ...more) => (!all && more.find(Number.isInteger) !== match.from ? found : this.pattern.checked ? found.replace(once, by) : by)));
    };
    history.apply({ segments: history.state.segments.map(changed) });
    if (all) this.count.textContent = t("find.done", { n: length });
    else this.show(true);
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
