/** The text, and links to it, for other programs. */

import { h, icon } from "../core/dom.js";
import { here, to } from "../core/router.js";
import { clock, t } from "../core/words.js";
import { me } from "../core/who.js";
import { tell } from "../ui/toast.js";

/** Silence behind which a new paragraph begins, in seconds: as the service has it. */
const PAUSE = 2;

/**
 * @param {import("./model.js").Transcript} transcript
 * @param {{ speakers: boolean, times: boolean }} how
 */
export function asText(transcript, { speakers, times }) {
  const blank = /^(zh|ja|th|lo|my|km|yue)/.test(transcript.language) ? "" : " ";
  let text = "";
  /** @type {import("./model.js").Segment | null} */
  let before = null;
  for (const segment of transcript.segments) {
    const other = segment.speaker !== before?.speaker;
    if (!before || other || segment.start - before.end > PAUSE) {
      const name = speakers && segment.speaker && other ? `${transcript.nameOf(segment.speaker)}: ` : "";
      text += `${before ? "\n\n" : ""}${times ? `[${clock(segment.start)}] ` : ""}${name}`;
    } else text += blank;
    text += segment.text.trim();
    before = segment;
  }
  return `${text}\n`;
}

/**
 * @param {string} text
 * @param {string} done what to say then
 */
async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // without https there is only the old way
    const area = h("textarea", { value: text });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) return tell(t("transcript.not_copied"), { kind: "error" });
  }
  tell(done);
}

/**
 * @param {import("./model.js").Transcript} transcript
 * @param {import("./player.js").Player} player
 */
export function copyButton(transcript, player) {
  const text = (/** @type {boolean} */ speakers, /** @type {boolean} */ times) => () => copy(asText(transcript, { speakers, times }), t("transcript.copied"));
  const link = (/** @type {Record<string, string>} */ query) => copy(new URL(to(here().path, query), location.href).href, t(me.needed ? "transcript.link_keys" : "transcript.link_all"));
  /** @type {[string, () => void][]} */
  const choices = [[t("transcript.copy_text"), text(false, false)]];
  if (transcript.speakers) choices.push([t("transcript.copy_speakers"), text(true, false)]);
  choices.push([t("transcript.copy_times"), text(true, true)], [t("transcript.copy_link"), () => link({})], [t("transcript.copy_moment"), () => link({ t: player.time.toFixed(1) })]);
  const menu = h("div", { class: "menu", popover: "auto" }, choices.map(([name, run]) => h("button", { type: "button", onclick: () => (menu.hidePopover(), run()) }, name)));
  const button = h("button", { type: "button", class: "button" }, icon("copy"), t("transcript.copy"));
  button.popoverTargetElement = menu;
  menu.addEventListener("toggle", () => {
    const { left, bottom } = button.getBoundingClientRect();
    menu.style.setProperty("left", `${Math.max(8, Math.min(left, innerWidth - menu.offsetWidth - 8))}px`);
    menu.style.setProperty("top", `${bottom + 4}px`);
  });
  return [button, menu];
}
