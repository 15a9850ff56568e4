/** One segment as an element: when, who, what, and what is to be known about it. */

import { h, fill, icon } from "../core/dom.js";
import { clock, named, span, t } from "../core/words.js";
import { shade } from "./doubt.js";

/** @typedef {import("./model.js").Segment} Segment */
/** @typedef {import("./list.js").SegmentList} SegmentList */

/** Colours that there are; whoever comes later shares one, the name tells them apart. */
export const VOICES = 10;

/**
 * Which colour somebody has.
 * @param {import("./model.js").Transcript} transcript
 * @param {Segment} segment
 * @returns {number} -1: none
 */
export function voiceOf({ speakers }, { speaker, channel }) {
  // by the number in the id: it stays when others become one
  const place = speaker ? Number(/\d+$/.exec(speaker)?.[0] ?? speakers?.findIndex(({ id }) => id === speaker)) : (channel ?? -1);
  return place < 0 ? -1 : place % VOICES;
}

/** @param {string} key */
export function makeRow(key) {
  return h(
    "div",
    { class: "segment", role: "listitem", "data-key": key },
    h("div", { class: "gaps" }),
    h("button", { type: "button", class: "time numbers" }),
    h(
      "div",
      { class: "content" },
      h("div", { class: "who" }, h("button", { type: "button", class: "speaker" }), h("span", { class: "channel" })),
      h("div", { class: "said", dir: "auto" }),
      h("p", { class: "translation", dir: "auto" }),
      h("div", { class: "flags" }),
    ),
    h("div", { class: "gaps" }),
  );
}

/**
 * Shows a segment as it is now. Elements stay, so that focus does.
 * @param {HTMLElement} row
 * @param {SegmentList} list
 * @param {number} index
 */
export function updateRow(row, list, index) {
  const { transcript } = list;
  const { segments } = transcript;
  const segment = segments[index];
  const before = segments[index - 1];
  const [gaps, time, content, after] = /** @type {HTMLElement[]} */ ([...row.children]);
  const [who, said, translation, flags] = /** @type {HTMLElement[]} */ ([...content.children]);
  const voice = voiceOf(transcript, segment);
  row.dataset.voice = voice < 0 ? "" : String(voice);
  row.classList.toggle("same", !!before && before.speaker === segment.speaker && before.channel === segment.channel);
  row.ariaSetSize = String(segments.length);
  row.ariaPosInSet = String(index + 1);

  time.textContent = clock(segment.start);
  time.ariaLabel = t("transcript.play_from", { time: clock(segment.start) });
  const [chip, channel] = /** @type {[HTMLButtonElement, HTMLElement]} */ ([...who.children]);
  chip.hidden = transcript.speakers === null;
  chip.dataset.speaker = segment.speaker ?? "";
  chip.textContent = segment.speaker ? transcript.nameOf(segment.speaker) : t("transcript.nobody");
  channel.hidden = segment.channel === null;
  channel.textContent = segment.channel === null ? "" : t("transcript.channel", { n: segment.channel + 1 });
  who.hidden = chip.hidden && channel.hidden;

  if (!list.renderText?.(row, segment, said)) showWords(said, segment);
  translation.hidden = !segment.translation;
  translation.textContent = segment.translation;
  flags.hidden = !segment.flags.length;
  fill(flags, segment.flags.map((flag) => h("span", { class: "badge doubt" }, icon("warning"), named("warning", flag))));

  // speech without text, where it would be read: before the segment that follows it, or behind the last one
  const from = before?.start ?? -1;
  showGaps(gaps, transcript.gaps.filter(({ start }) => start >= from && start < segment.start));
  showGaps(after, segments[index + 1] ? [] : transcript.gaps.filter(({ start }) => start >= segment.start));
}

/**
 * @param {HTMLElement} said
 * @param {Segment} segment
 */
function showWords(said, { text, words }) {
  /** @type {(HTMLElement | string)[]} */
  const parts = [];
  let done = 0;
  for (const [n, { word, probability }] of (words ?? []).entries()) {
    const bare = word.trim();
    const found = text.indexOf(bare, done);
    if (found < 0 || !bare) continue;
    parts.push(text.slice(done, found), h("span", { class: `word${shade(probability)}`, "data-n": n }, bare));
    done = found + bare.length;
  }
  fill(said, parts, text.slice(done));
}

/**
 * @param {HTMLElement} place
 * @param {import("./model.js").Transcript["gaps"]} gaps
 */
export function showGaps(place, gaps) {
  place.hidden = !gaps.length;
  fill(place, gaps.map(gapNote));
}

/** @param {{ start: number, end: number, reason: string }} gap */
function gapNote({ start, end, reason }) {
  return h(
    "div",
    { class: "gap" },
    icon("warning"),
    h("span", {}, t("gap.here", { from: clock(start), to: clock(end), length: span(end - start) }), " ", named("gap", reason)),
    h("button", { type: "button", class: "button quiet", "data-listen": start }, icon("play"), t("gap.listen")),
  );
}
