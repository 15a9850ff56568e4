/** Writing in the segments themselves: keys, cutting in two and putting together, times. */

import { h, icon } from "../core/dom.js";
import { clock, t } from "../core/words.js";
import { caret, setCaret } from "./caret.js";
import { newKey, segmentOf } from "./model.js";
import { STEP } from "./player.js";
import { clean, join, places, retext, split } from "./segments.js";

/** @typedef {import("./model.js").Segment} Segment */
/** @typedef {import("./editing.js").Room & { history: import("./history.js").History, canEdit: () => boolean }} Desk */

/** Text alone, where the browser knows how; older ones are kept from markup by hand. */
const PLAIN = (() => {
  try {
    return (document.createElement("div").contentEditable = "plaintext-only");
  } catch {
    return "true";
  }
})();

/** @param {Element | null} [within] */
const keyOf = (within) => within?.closest(".segment")?.getAttribute("data-key") ?? "";

/** 62.5 as 1:02.50 @param {number} seconds */
const written = (seconds) => `${clock(seconds)}.${String(Math.floor(100 * (seconds % 1) + 1e-6)).padStart(2, "0")}`;

/** Seconds of 1:02.5, 62,5 or 1:00:02; NaN for what is no time. @param {string} text */
const read = (text) => (/^\s*(\d+:){0,2}\d+([.,]\d*)?\s*$/.test(text) ? text.replace(",", ".").split(":").reduce((sum, part) => 60 * sum + Number(part), 0) : NaN);

export class Typing {
  /**
   * @param {Desk} desk
   * @param {() => void} leave
   */
  constructor(desk, leave) {
    this.desk = desk;
    this.leave = leave;
    this.on = false;
    /** @type {(name: string, act: (segment: Segment, said: HTMLElement, event: any) => void) => void} */
    const listen = (name, act) =>
      desk.list.element.addEventListener(name, (event) => {
        const said = event.target instanceof Element && event.target.closest(".said");
        const segment = said && this.on && this.segments[this.place(keyOf(said))];
        if (said instanceof HTMLElement && segment) act(segment, said, event);
      });
    listen("input", (segment, said) => this.replace(segment.key, [retext(segment, clean(said.textContent ?? ""))], `text ${segment.key}`));
    listen("keydown", (segment, said, event) => this.press(segment, said, event));
    listen("paste", (_segment, _said, event) => {
      event.preventDefault();
      desk.history.rest();
      document.execCommand("insertText", false, clean(event.clipboardData.getData("text/plain"))); // nothing else keeps the caret
    });
    listen("beforeinput", (segment, said, event) => {
      if (!/^(format|history|insertParagraph|insertLineBreak)/.test(event.inputType)) return;
      event.preventDefault();
      if (event.inputType === "insertParagraph") this.cut(segment, this.place(segment.key), caret(said)); // keyboards of phones tell no key
    });
    listen("focusin", (segment) => this.showStrip(segment));
    listen("focusout", (segment) => {
      const text = segment.text.trim();
      if (text === segment.text && text) desk.list.refresh([segment.key]);
      else this.replace(segment.key, text ? [retext(segment, text)] : [], `text ${segment.key}`);
    });
    listen("click", (segment, said) => {
      // what is played next is what one writes at
      const word = segment.words?.[places(segment).findIndex((place) => place && place[1] >= caret(said))];
      if (!desk.player.playing) desk.player.seek(word?.start ?? segment.start);
    });

    const field = (/** @type {"start" | "end"} */ name) =>
      h("input", { class: "numbers", "aria-label": t(`edit.${name}`), inputMode: "decimal", autocomplete: "off", onchange: () => this.setTimes(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.leaveStrip(event) });
    const act = (/** @type {"add" | "remove" | "people"} */ sign, /** @type {string} */ name, /** @type {() => void} */ onclick, more = "") =>
      h("button", { type: "button", class: `icon-button ${more}`, "aria-label": name, title: name, onclick }, icon(sign));
    this.start = field("start");
    this.end = field("end");
    this.problem = h("span", { class: "problem", role: "alert" });
    this.strip = h(
      "div",
      { class: "strip row small" },
      this.start, "–", this.end,
      act("add", t("edit.add"), () => this.insert()),
      act("remove", t("edit.remove"), () => this.remove()),
      desk.transcript.speakers && act("people", t("speaker.menu"), () => {}, "person"),
      this.problem,
      h("span", { class: "tips soft" }, t("edit.keys")),
    );
  }

  get segments() {
    return this.desk.history.state.segments;
  }

  /** @param {string} key */
  place(key) {
    return this.segments.findIndex((one) => one.key === key);
  }

  /** @param {boolean} on */
  set(on) {
    if (on === this.on) return;
    const { history, list, player, transcript } = this.desk;
    const { activeElement } = document;
    if (activeElement instanceof HTMLElement && activeElement.isContentEditable) activeElement.blur(); // while it still says what becomes of its text
    this.on = on;
    this.strip.remove();
    if (on && !this.segments.length) history.apply({ segments: [segmentOf({ start: 0, end: transcript.duration, text: "" })] });
    list.refresh(null);
    if (!on) return;
    // where it is spoken, if that can be seen
    const spoken = transcript.at(player.time);
    const row = list.rowOf(this.segments[spoken]?.key ?? "")?.getBoundingClientRect();
    const top = list.element.getBoundingClientRect().top;
    this.focus(row && row.top > 0 && row.bottom < innerHeight - 100 ? spoken : this.segments.findIndex((_one, n) => list.tops[n + 1] + top > 80), 0);
  }

  /**
   * Draws the text of a segment, where it is us who do.
   * @param {Segment} segment
   * @param {HTMLElement} said
   */
  render(segment, said) {
    if (!this.on) {
      for (const name of ["contenteditable", "role", "aria-label"]) said.removeAttribute(name);
      return false;
    }
    if (!said.isContentEditable) said.contentEditable = PLAIN;
    said.role = "textbox";
    said.ariaLabel = t("edit.text", { time: clock(segment.start) });
    if (document.activeElement !== said) return false;
    const before = clean(said.textContent ?? "");
    if (before === clean(segment.text)) return true; // as it is being typed
    let back = 0;
    while (back < before.length && before.at(-1 - back) === segment.text.at(-1 - back)) back++;
    said.textContent = segment.text;
    setCaret(said, Math.max(0, segment.text.length - back));
    return true;
  }

  /**
   * @param {string} key
   * @param {Segment[]} by
   * @param {string} [group]
   */
  replace(key, by, group) {
    this.desk.history.apply({ segments: this.segments.flatMap((one) => (one.key === key ? by : [one])) }, group);
  }

  /**
   * @param {number} index
   * @param {number} offset
   */
  focus(index, offset) {
    const { list } = this.desk;
    const key = this.segments[index]?.key;
    if (key === undefined) return;
    if (!list.rowOf(key)) list.scrollTo(index);
    const said = list.rowOf(key)?.querySelector(".said");
    if (!(said instanceof HTMLElement)) return;
    said.focus();
    setCaret(said, offset);
  }

  /** Where something has changed. @param {number} index */
  visit(index) {
    const { list } = this.desk;
    const { activeElement } = document;
    const key = this.segments[index]?.key ?? "";
    const row = list.rowOf(key)?.getBoundingClientRect();
    if (!row || row.top < 60 || row.bottom > innerHeight - 120) list.scrollTo(index);
    if (this.on && (activeElement === document.body || activeElement?.closest(".said")) && keyOf(activeElement) !== key) this.focus(index, 1e9);
  }

  /**
   * @param {Segment} segment
   * @param {HTMLElement} said
   * @param {KeyboardEvent} event
   */
  press(segment, said, event) {
    if (event.isComposing) return;
    const { player } = this.desk;
    const { segments } = this;
    const index = segments.indexOf(segment);
    const here = caret(said);
    const alone = getSelection()?.isCollapsed;
    const [atStart, atEnd] = [alone && here === 0, alone && here >= segment.text.length];
    const next = index + 1 < segments.length && (() => this.focus(this.place(segments[index + 1].key), 0));
    const before = index > 0 && ((offset = 0) => this.focus(this.place(segments[index - 1].key), offset));
    /** @type {Record<string, unknown>} */
    const acts = {
      "Ctrl+ ": () => player.toggle(),
      "Alt+k": () => player.toggle(),
      "Alt+j": () => player.seek(player.time - STEP),
      "Alt+l": () => player.seek(player.time + STEP),
      Enter: () => this.cut(segment, index, here),
      Escape: this.leave,
      Tab: next,
      "Shift+Tab": before,
      "Ctrl+ArrowDown": next,
      "Ctrl+ArrowUp": before,
      ArrowDown: atEnd && next,
      ArrowUp: atStart && before && (() => before(1e9)),
      Backspace: atStart && before && (() => this.unite(index - 1)),
      Delete: atEnd && next && (() => this.unite(index)),
      F2: () => this.start.select(),
    };
    const act = acts[`${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${event.shiftKey ? "Shift+" : ""}${event.key}`];
    if (typeof act !== "function") return;
    event.preventDefault();
    act();
  }

  /**
   * @param {Segment} segment
   * @param {number} index
   * @param {number} offset
   */
  cut(segment, index, offset) {
    const [first, rest] = split(segment, offset);
    if (first.text && rest.text) this.replace(segment.key, [first, rest]);
    if (first.text) this.focus(index + 1, 0);
  }

  /** @param {number} index with the one behind it */
  unite(index) {
    const [first, second] = this.segments.slice(index, index + 2);
    this.desk.history.apply({ segments: this.segments.toSpliced(index, 2, join(first, second)) });
    this.focus(index, first.text.trim().length + 1);
  }

  /** @param {Segment} segment */
  showStrip(segment) {
    this.start.value = written(segment.start);
    this.end.value = written(segment.end);
    this.start.ariaInvalid = this.end.ariaInvalid = null;
    this.problem.textContent = "";
    const row = this.desk.list.rowOf(segment.key)?.querySelector(".content");
    if (this.strip.parentElement !== row) row?.append(this.strip);
  }

  setTimes() {
    const { segments } = this;
    const index = this.place(keyOf(this.strip));
    if (index < 0) return;
    const one = segments[index];
    const { duration } = this.desk.transcript;
    // what nobody touched stays as exact as it was
    const start = this.start.value === written(one.start) ? one.start : read(this.start.value);
    const end = this.end.value === written(one.end) ? one.end : read(this.end.value);
    const [early, late] = [segments[index - 1]?.start ?? 0, segments[index + 1]?.start ?? duration];
    const badStart = !(start >= early && start <= late);
    const badEnd = !badStart && !(end >= start && end <= Math.max(duration, one.end));
    this.start.ariaInvalid = String(badStart);
    this.end.ariaInvalid = String(badEnd);
    const [from, to] = badStart ? [early, late] : [start, duration];
    this.problem.textContent = badStart || badEnd ? t("edit.bad_time", { from: written(from), to: written(to) }) : "";
    if (!badStart && !badEnd && (start !== one.start || end !== one.end)) this.replace(one.key, [{ ...one, start, end }]);
  }

  /** @param {KeyboardEvent} event */
  leaveStrip({ key }) {
    if (key === "Enter") this.setTimes();
    if (key === "Escape" || (key === "Enter" && !this.problem.textContent)) this.focus(this.place(keyOf(this.strip)), 0);
  }

  insert() {
    const index = this.place(keyOf(this.strip));
    const before = this.segments[index];
    const late = this.segments[index + 1]?.start ?? this.desk.transcript.duration;
    const start = Math.max(before.start, Math.min(before.end, late));
    const made = { ...before, key: newKey(), start, end: Math.max(start, late), text: "", words: null, translation: null, flags: [] };
    this.desk.history.apply({ segments: this.segments.toSpliced(index + 1, 0, made) });
    this.focus(index + 1, 0);
  }

  remove() {
    const index = this.place(keyOf(this.strip));
    this.replace(keyOf(this.strip), []);
    this.focus(Math.min(index, this.segments.length - 1), 0);
  }
}
