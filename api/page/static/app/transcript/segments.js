/** What people do to single segments. Pure: each gives another segment and leaves the one it was given. */

import { newKey } from "./model.js";

/** @typedef {import("./model.js").Segment} Segment */
/** @typedef {import("./model.js").Word} Word */

const letters = (/** @type {string} */ word) => word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
const round = (/** @type {number} */ seconds) => Math.round(1000 * seconds) / 1000;

/** As it can be a segment's text: one line. The length stays, but for blanks in front. */
export const clean = (/** @type {string} */ text) => text.replace(/[\s\p{Cc}]/gu, " ").trimStart();

/**
 * With another text. Words that are still there, in front of what changed and behind it, keep their times.
 * @param {Segment} segment
 * @param {string} text
 * @returns {Segment}
 */
export function retext(segment, text) {
  if (text === segment.text) return segment;
  return { ...segment, text, words: segment.words && rewritten(segment.words, text.split(/\s+/).filter(Boolean)), flags: [] };
}

/**
 * @param {Word[]} words
 * @param {string[]} texts
 */
function rewritten(words, texts) {
  const alike = (/** @type {number} */ n, /** @type {number} */ m) => letters(words[n].word) === letters(texts[m]);
  const most = Math.min(words.length, texts.length);
  let front = 0;
  while (front < most && alike(front, front)) front++;
  let back = 0;
  while (back < most - front && alike(words.length - 1 - back, texts.length - 1 - back)) back++;
  if (front + back === 0) return null;
  return texts.map((text, m) => {
    const n = m < front ? m : m >= texts.length - back ? m - texts.length + words.length : -1;
    const word = ` ${text}`;
    return n < 0 ? { word, start: null, end: null, probability: null } : { ...words[n], word };
  });
}

/**
 * Where each word is in the text of its segment: [from, to), or null where it is not found.
 * @param {Segment} segment
 * @returns {([number, number] | null)[]}
 */
export function places({ text, words }) {
  let reached = 0;
  return (words ?? []).map(({ word }) => {
    const from = text.indexOf(word.trim(), reached);
    if (from < 0) return null;
    reached = from + word.trim().length;
    return [from, reached];
  });
}

/**
 * In two at a letter; the first keeps the key. Times are those of the words, else by the letters.
 * @param {Segment} segment
 * @param {number} offset
 * @returns {[Segment, Segment]}
 */
export function split(segment, offset) {
  const { start, end, text, words } = segment;
  const share = round(start + ((end - start) * offset) / Math.max(1, text.length));
  const where = places(segment);
  const second = where.findIndex((place) => place && place[1] > offset);
  const found = words && (where[second]?.[0] ?? -1) >= offset; // not within a word
  const to = (found && words[second].start) || share;
  const from = Math.min((found && words[second - 1]?.end) || share, to);
  return [
    { ...segment, end: from, text: text.slice(0, offset).trimEnd(), words: found ? words.slice(0, second) : null, flags: [] },
    { ...segment, key: newKey(), start: to, text: text.slice(offset).trim(), words: found ? words.slice(second) : null, flags: [], translation: null },
  ];
}

/**
 * The first with what the one behind it says.
 * @param {Segment} first
 * @param {Segment} second
 * @returns {Segment}
 */
export function join(first, second) {
  const both = (/** @type {string | null} */ one, /** @type {string | null} */ other) => [one, other].filter(Boolean).join(" ");
  return {
    ...first,
    end: Math.max(first.end, second.end),
    text: both(first.text.trim(), second.text.trim()),
    words: first.words && second.words && [...first.words, ...second.words],
    translation: both(first.translation, second.translation) || null,
    flags: [],
  };
}

/**
 * Whether two say the same, at the same time and by the same person.
 * @param {Segment} one
 * @param {Segment} [other]
 */
export const same = (one, other) =>
  one === other || (!!other && one.text === other.text && one.start === other.start && one.end === other.end && one.speaker === other.speaker && one.translation === other.translation);

/**
 * @param {Segment[]} some
 * @param {Segment[]} others
 */
export const sameAll = (some, others) => some === others || (some.length === others.length && some.every((one, n) => same(one, others[n])));
