/** The text goes along with the sound: what is spoken stands out, and stays in the window until the reader goes elsewhere. */

import { h } from "../core/dom.js";
import { t } from "../core/words.js";

export class Along {
  /**
   * @param {{ transcript: import("./model.js").Transcript, list: import("./list.js").SegmentList, player: import("./player.js").Player, signal: AbortSignal }} room
   */
  constructor({ transcript, list, player, signal }) {
    this.transcript = transcript;
    this.list = list;
    this.player = player;
    this.follows = true;
    this.index = -1;
    /** @type {Element[]} */
    this.marked = [];
    this.back = h("button", { type: "button", class: "button back", hidden: true, onclick: () => this.follow() }, t("player.to_spoken"));
    player.extra.append(this.back);
    player.addEventListener("time", () => this.mark());
    player.addEventListener("seek", () => this.follow());
    list.addEventListener("render", () => this.mark());
    const stop = (/** @type {Event} */ event) => {
      if (event instanceof KeyboardEvent && !["PageUp", "PageDown", "Home", "End"].includes(event.key)) return;
      if (event instanceof PointerEvent && event.target !== document.documentElement) return; // the bar at the side
      this.follows = false;
      this.back.hidden = !player.playing;
    };
    for (const name of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(name, stop, { signal, passive: true });
    player.addEventListener("state", () => (this.back.hidden = this.follows || !player.playing));
  }

  /** Place of what is spoken; n: -1 without times of words. */
  get place() {
    const { time } = this.player;
    const index = this.transcript.at(time + 0.01);
    const words = this.transcript.segments[index]?.words ?? [];
    return { index, n: words.findLastIndex(({ start }) => start !== null && start <= time + 0.01) };
  }

  mark() {
    const { index, n } = this.place;
    const segment = this.transcript.segments[index];
    const row = segment && this.list.rowOf(segment.key);
    const word = row?.querySelector(`.word[data-n="${n}"]`);
    const marks = [row, word].filter((one) => !!one);
    for (const one of this.marked) if (!marks.includes(one)) one.classList.remove("spoken");
    for (const one of marks) one.classList.add("spoken");
    this.marked = marks;
    if (index === this.index) return;
    this.index = index;
    if (this.follows && this.player.playing) this.show();
  }

  follow() {
    this.follows = true;
    this.back.hidden = true;
    this.index = this.place.index;
    this.show();
  }

  /** Scrolls only where what is spoken is out of sight: the eye keeps its line; and never under somebody who types. */
  show() {
    const typing = document.activeElement instanceof HTMLElement && document.activeElement.isContentEditable;
    const segment = this.transcript.segments[this.index];
    if (typing || !segment) return;
    const box = this.list.rowOf(segment.key)?.getBoundingClientRect();
    if (box && box.top > this.list.edge && box.bottom < this.player.element.getBoundingClientRect().top - 24) return;
    this.list.scrollTo(this.index, { smooth: !matchMedia("(prefers-reduced-motion: reduce)").matches });
  }
}
