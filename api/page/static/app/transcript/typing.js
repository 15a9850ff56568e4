/** Writing in the segments themselves: caret and keys, cutting in two and putting together, times. */

import { h, icon } from "../core/dom.js";
import { clock, t } from "../core/words.js";
import { caret, setCaret } from "./caret.js";
import { newKey } from "./model.js";
import { clean, join, places, retext, split } from "./segments.js";

/** @typedef {import("./model.js").Segment} Segment */
/** @typedef {{ transcript: import("./model.js").Transcript, list: import("./list.js").SegmentList, player: import("./player.js").Player, history: import("./history.js").History }} Desk */

const STEP = 5; // seconds

/** Tells the list's element `leave` when somebody wants to stop. */
export class Typing {
  /** @param {Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.on = false;
    const { element } = desk.list;
    /** @type {(name: string, act: (said: HTMLElement, segment: Segment, event: any) => void) => void} */
    const listen = (name, act) =>
      element.addEventListener(name, (event) => {
        const said = event.target instanceof Element && event.target.closest(".said");
        const segment = said && this.on && this.at(keyOf(said));
        if (said instanceof HTMLElement && segment) act(said, segment, event);
      });
    listen("input", (said, segment) => this.write(segment, clean(said.textContent ?? "")));
    listen("keydown", (said, segment, event) => this.press(said, segment, event));
    listen("paste", (_said, _segment, event) => {
      event.preventDefault();
      document.execCommand("insertText", false, clean(event.clipboardData.getData("text/plain"))); // there is no other way that keeps the caret
    });
    listen("beforeinput", (_said, _segment, event) => {
      if (/^(format|history|insertParagraph|insertLineBreak)/.test(event.inputType)) event.preventDefault();
    });
    listen("focusin", (_said, segment) => this.showStrip(segment));
    listen("focusout", (_said, segment) => {
      if (!segment.text.trim()) this.replace(segment.key, [], `text ${segment.key}`);
      else desk.list.refresh([segment.key]);
    });
    listen("click", (said, segment) => {
      // a click puts the caret, and the player where it is
      const word = segment.words?.[places(segment).findIndex((place) => place !== null && place[1] >= caret(said))];
      if (!desk.player.playing) desk.player.seek(word?.start ?? segment.start);
    });
    this.strip = this.makeStrip();
  }

  /** @param {string} key */
  at(key) {
    return this.desk.history.state.segments.find((one) => one.key === key);
  }

  /** @param {boolean} on */
  set(on) {
    if (on === this.on) return;
    const { list, player, transcript } = this.desk;
    this.on = on;
    this.strip.remove();
    list.refresh(null);
    if (!on) return;
    const edge = list.element.getBoundingClientRect().top;
    const inSight = transcript.segments.findIndex((_one, n) => list.tops[n + 1] + edge > 80);
    const spoken = transcript.at(player.time);
    const row = spoken >= 0 && list.rowOf(transcript.segments[spoken].key)?.getBoundingClientRect();
    this.focus(row && row.top > 0 && row.bottom < innerHeight - 100 ? spoken : Math.max(0, inSight), 0);
  }

  /**
   * Draws the text of a segment, where it is us who do.
   * @param {Segment} segment
   * @param {HTMLElement} said
   */
  render(segment, said) {
    if (!this.on) {
      for (const name of ["contenteditable", "role", "aria-label", "data-hint"]) said.removeAttribute(name);
      return false;
    }
    if (!said.isContentEditable) {
      said.contentEditable = PLAIN;
      said.role = "textbox";
      said.dataset.hint = t("edit.hint");
    }
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
   * @param {Segment} segment
   * @param {string} text
   */
  write(segment, text) {
    this.replace(segment.key, [retext(segment, text)], `text ${segment.key}`);
  }

  /**
   * @param {string} key
   * @param {Segment[]} by
   * @param {string} [group]
   */
  replace(key, by, group) {
    const { history } = this.desk;
    history.apply({ segments: history.state.segments.flatMap((one) => (one.key === key ? by : [one])) }, group);
  }

  /**
   * @param {number} index
   * @param {number} offset
   */
  focus(index, offset) {
    const { list, transcript } = this.desk;
    const segment = transcript.segments[index];
    if (!segment) return;
    if (!list.rowOf(segment.key)) list.scrollTo(index);
    const said = list.rowOf(segment.key)?.querySelector(".said");
    if (!(said instanceof HTMLElement)) return;
    said.focus();
    setCaret(said, offset);
  }

  /** Where something has changed. @param {number} index */
  visit(index) {
    const { list, transcript } = this.desk;
    const row = list.rowOf(transcript.segments[index]?.key ?? "")?.getBoundingClientRect();
    if (!row || row.top < 60 || row.bottom > innerHeight - 120) list.scrollTo(index);
    const { activeElement } = document;
    if (this.on && (activeElement === document.body || activeElement?.closest(".said")) && keyOf(activeElement) !== transcript.segments[index]?.key) this.focus(index, 1e9);
  }

  /**
   * @param {HTMLElement} said
   * @param {Segment} segment
   * @param {KeyboardEvent} event
   */
  press(said, segment, event) {
    if (event.isComposing) return;
    const { player } = this.desk;
    const { segments } = this.desk.history.state;
    const index = segments.indexOf(segment);
    const here = caret(said);
    const [atStart, atEnd] = [here === 0 && getSelection()?.isCollapsed, here >= segment.text.length && getSelection()?.isCollapsed];
    const go = (/** @type {1 | -1} */ step, /** @type {number} */ offset) => segments[index + step] && (() => this.focus(this.place(segments[index + step].key), offset));
    /** @type {Record<string, false | undefined | null | (() => void)>} */
    const acts = {
      "Ctrl+ ": () => player.toggle(),
      "Alt+k": () => player.toggle(),
      "Alt+j": () => player.seek(player.time - STEP),
      "Alt+l": () => player.seek(player.time + STEP),
      Enter: () => this.cut(segment, index, here),
      Escape: () => said.dispatchEvent(new Event("leave", { bubbles: true })),
      Tab: go(1, 0),
      "Shift+Tab": go(-1, 0),
      "Ctrl+ArrowDown": go(1, 0),
      "Ctrl+ArrowUp": go(-1, 0),
      ArrowDown: atEnd && go(1, 0),
      ArrowUp: atStart && go(-1, 1e9),
      Backspace: atStart && index > 0 && (() => this.unite(index - 1)),
      Delete: atEnd && index + 1 < segments.length && (() => this.unite(index)),
      F2: () => this.strip.querySelector("input")?.select(),
    };
    const name = `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${event.shiftKey ? "Shift+" : ""}${event.key}`;
    const act = Object.hasOwn(acts, name) && acts[name];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  /** @param {string} key */
  place(key) {
    return this.desk.history.state.segments.findIndex((one) => one.key === key);
  }

  /**
   * @param {Segment} segment
   * @param {number} index
   * @param {number} offset
   */
  cut(segment, index, offset) {
    const [first, rest] = split(segment, offset);
    if (!rest.text) return this.focus(index + 1, 0);
    if (!first.text) return;
    this.replace(segment.key, [first, rest]);
    this.focus(index + 1, 0);
  }

  /** @param {number} index with the one behind it */
  unite(index) {
    const { history } = this.desk;
    const [first, second] = history.state.segments.slice(index, index + 2);
    const offset = first.text.trim().length + 1;
    history.apply({ segments: history.state.segments.toSpliced(index, 2, join(first, second)) });
    this.focus(index, offset);
  }

  makeStrip() {
    const field = (/** @type {"start" | "end"} */ name) => h("input", { class: "numbers", name, "aria-label": t(`edit.${name}`), inputMode: "decimal", autocomplete: "off", onchange: () => this.setTimes(), onkeydown: (/** @type {KeyboardEvent} */ event) => this.leaveStrip(event) });
    const act = (/** @type {"add" | "remove"} */ sign, /** @type {() => void} */ onclick) => h("button", { type: "button", class: "icon-button", "aria-label": t(`edit.${sign}`), title: t(`edit.${sign}`), onclick }, icon(sign));
    return h(
      "div",
      { class: "strip row small" },
      field("start"), "–", field("end"),
      act("add", () => this.insert()),
      act("remove", () => this.remove()),
      this.desk.transcript.speakers && h("button", { type: "button", class: "icon-button person", "aria-label": t("speaker.menu"), title: t("speaker.menu") }, icon("people")),
      h("span", { class: "problem", role: "alert" }),
      h("span", { class: "tips soft" }, t("edit.keys")),
    );
  }

  /** @param {Segment} segment */
  showStrip(segment) {
    const row = this.desk.list.rowOf(segment.key)?.querySelector(".content");
    const [start, end] = this.strip.querySelectorAll("input");
    start.value = written(segment.start);
    end.value = written(segment.end);
    start.ariaInvalid = end.ariaInvalid = null;
    /** @type {HTMLElement} */ (this.strip.querySelector(".problem")).textContent = "";
    if (this.strip.parentElement !== row) row?.append(this.strip);
  }

  setTimes() {
    const { history, transcript } = this.desk;
    const { segments } = history.state;
    const index = this.place(keyOf(this.strip));
    if (index < 0) return;
    const [first, last] = this.strip.querySelectorAll("input");
    const one = segments[index];
    // what nobody touched stays as exact as it was
    const [start, end] = [first.value === written(one.start) ? one.start : read(first.value), last.value === written(one.end) ? one.end : read(last.value)];
    const early = index ? segments[index - 1].start : 0;
    const late = Math.min(segments[index + 1]?.start ?? Infinity, transcript.duration);
    const [startOk, endOk] = [start >= early && start <= late, end >= start && end <= transcript.duration];
    first.ariaInvalid = String(!startOk);
    last.ariaInvalid = String(startOk && !endOk);
    /** @type {HTMLElement} */ (this.strip.querySelector(".problem")).textContent = startOk && endOk ? "" : startOk ? t("edit.bad_end", { from: written(start), to: written(transcript.duration) }) : t("edit.bad_start", { from: written(early), to: written(late) });
    if (startOk && endOk && (start !== one.start || end !== one.end)) this.replace(one.key, [{ ...one, start, end }]);
  }

  /** @param {KeyboardEvent} event */
  leaveStrip(event) {
    if (event.key !== "Escape" && event.key !== "Enter") return;
    event.preventDefault();
    if (event.key === "Enter") this.setTimes();
    if (!this.strip.querySelector("[aria-invalid=true]") || event.key === "Escape") this.focus(this.place(keyOf(this.strip)), 0);
  }

  insert() {
    const { history, transcript } = this.desk;
    const { segments } = history.state;
    const index = this.place(keyOf(this.strip));
    const before = segments[index];
    const late = segments[index + 1]?.start ?? transcript.duration;
    const start = Math.max(before.start, Math.min(before.end, late));
    const made = { ...before, key: newKey(), start, end: Math.max(start, late), text: "", words: null, translation: null, flags: [] };
    history.apply({ segments: segments.toSpliced(index + 1, 0, made) });
    this.focus(index + 1, 0);
  }

  remove() {
    const index = this.place(keyOf(this.strip));
    this.replace(keyOf(this.strip), []);
    this.focus(Math.min(index, this.desk.history.state.segments.length - 1), 0);
  }
}

/** Text alone, where the browser knows how: older ones are kept from markup by hand. */
const PLAIN = (() => {
  try {
    return (document.createElement("div").contentEditable = "plaintext-only");
  } catch {
    return "true";
  }
})();

/** @param {Element | null} within @returns {string} */
const keyOf = (within) => within?.closest(".segment")?.getAttribute("data-key") ?? "";

/** 62.5 as 1:02.50 @param {number} seconds */
const written = (seconds) => `${clock(seconds)}.${String(Math.floor(100 * (seconds % 1) + 1e-6)).padStart(2, "0")}`;

/** Seconds of 1:02.5, 62,5 or 1:00:02; NaN for what is no time. @param {string} text */
function read(text) {
  if (!/^\s*(\d+:){0,2}\d+([.,]\d*)?\s*$/.test(text)) return NaN;
  return text.replace(",", ".").split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
}
