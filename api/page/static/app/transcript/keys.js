/** What the keyboard does while nobody types, and the list of it. */

import { h } from "../core/dom.js";
import { t } from "../core/words.js";
import { show as ask } from "../ui/dialog.js";
import { nextDoubt } from "./doubt.js";
import { STEP } from "./player.js";

/** @typedef {import("../core/words.js").Key} Key */

/** What is told by `?`; who adds keys adds them here. @type {[string, Key][]} */
export const KEYS = [
  ["␣", "player.key_play"],
  ["← →", "player.key_step"],
  ["↑ ↓", "player.key_segment"],
  [", .", "player.key_word"],
  ["n p", "player.key_doubt"],
  ["< >", "player.key_speed"],
  ["f", "player.key_find"],
  ["?", "player.key_list"],
];

export const showKeys = () => ask(t("player.keys"), [h("dl", { class: "keys" }, KEYS.map(([keys, what]) => [h("dt", {}, keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, t(what))]).flat())], []);

/**
 * @param {{ transcript: import("./model.js").Transcript, list: import("./list.js").SegmentList, player: import("./player.js").Player, along: import("./along.js").Along, signal: AbortSignal }} room
 */
export function startKeys({ transcript, list, player, along, signal }) {
  /** Where the keyboard is: in a focused row, else where it is spoken. */
  const place = () => {
    const focused = document.activeElement;
    const row = focused?.closest(".segment");
    if (!(row instanceof HTMLElement)) return along.place;
    const word = focused?.closest(".word");
    return { index: list.places.get(row.dataset.key ?? "") ?? 0, n: word instanceof HTMLElement ? Number(word.dataset.n) : -1 };
  };
  const segment = (/** @type {number} */ by) => {
    const index = Math.max(0, Math.min(transcript.segments.length - 1, place().index + by));
    list.scrollTo(index, { focus: true, smooth: true });
  };
  /** @param {{ index: number, n: number } | null} to */
  const word = (to) => {
    if (!to || !transcript.segments[to.index]) return;
    const { key, words } = transcript.segments[to.index];
    list.scrollTo(to.index, { focus: true, smooth: true });
    const found = list.rowOf(key)?.querySelector(`.word[data-n="${to.n}"]`);
    if (!(found instanceof HTMLElement)) return;
    found.tabIndex = -1;
    found.role = "button";
    found.focus({ preventScroll: true });
    const start = words?.[to.n]?.start;
    if (!player.playing && typeof start === "number") player.seek(start);
  };
  const beside = (/** @type {1 | -1} */ by) => {
    const { index, n } = place();
    const there = transcript.segments[index]?.words?.[n + by] ? { index, n: n + by } : { index: index + by, n: by > 0 ? 0 : (transcript.segments[index - 1]?.words?.length ?? 1) - 1 };
    word(there);
  };
  /** @type {Record<string, () => void>} */
  const does = {
    " ": () => player.toggle(),
    ArrowLeft: () => player.seek(player.time - STEP),
    ArrowRight: () => player.seek(player.time + STEP),
    ArrowUp: () => segment(-1),
    ArrowDown: () => segment(1),
    ",": () => beside(-1),
    ".": () => beside(1),
    "<": () => player.faster(-1),
    ">": () => player.faster(1),
    n: () => word(nextDoubt(transcript, place(), 1)),
    p: () => word(nextDoubt(transcript, place(), -1)),
    "?": () => void showKeys(),
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    const { target, key } = event;
    if (!(target instanceof HTMLElement) || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (target.isContentEditable || target.closest("input, textarea, select, dialog, [popover]")) return;
    if (key === "Enter" && target.matches(".word")) return target.click();
    // a button is pressed by the space bar
    if (!does[key] || (key === " " && target.closest("button, a, summary"))) return;
    event.preventDefault();
    does[key]();
  };
  addEventListener("keydown", pressed, { signal });
}
