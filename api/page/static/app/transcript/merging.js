/** Brings two edits of one transcript together, segment by segment. Pure. */

import { sameAll } from "./segments.js";

/** @typedef {import("./model.js").Segment} Segment */
/** @typedef {import("./model.js").Speaker} Speaker */
/** @typedef {import("./model.js").State} State */
/** @typedef {"mine" | "theirs"} Side */

/** @typedef {{ mine: Segment[], theirs: Segment[], take: Side }} Conflict one place that both sides changed, each in its way */

/**
 * @typedef {object} Merged
 * @property {(Segment[] | Conflict)[]} parts
 * @property {Conflict[]} conflicts those of the parts
 * @property {Speaker[] | null} speakers
 * @property {Map<string, string | null>} moved who became somebody else on their side
 * @property {number} taken at how many places something of theirs was taken over
 */

/** What makes two segments one and the same, the surest first. @type {((one: Segment) => string)[]} */
const SIGNS = [(one) => `${one.start} ${one.end} ${one.text}`, (one) => `${one.start} ${one.end}`, (one) => one.text, (one) => `${one.start}`];

/**
 * `others` with the keys of the segments of `base` that they were made of; what is in neither is new.
 * @param {Segment[]} base
 * @param {Segment[]} others
 */
export function align(base, others) {
  /** @type {Map<number, string>} */
  const keys = new Map();
  /** @type {(b0: number, b1: number, o0: number, o1: number, sign: number) => void} */
  const within = (b0, b1, o0, o1, sign) => {
    if (b0 >= b1 || o0 >= o1) return;
    if (sign === SIGNS.length) {
      for (let b = b0, o = o0; b < b1 && o < o1; ) {
        const [one, other] = [base[b], others[o]];
        const both = Math.min(one.end, other.end) - Math.max(one.start, other.start);
        if (both > 0 && 2 * both >= Math.min(one.end - one.start, other.end - other.start)) keys.set(o++, base[b++].key);
        else if (one.end < other.end) b++;
        else o++;
      }
      return;
    }
    /** @type {Map<string, number>} */
    const where = new Map();
    for (let b = b1 - 1; b >= b0; b--) where.set(SIGNS[sign](base[b]), b);
    for (let o = o0; o < o1; o++) {
      const b = where.get(SIGNS[sign](others[o]));
      if (b === undefined || b < b0) continue;
      keys.set(o, base[b].key);
      within(b0, b, o0, o, sign + 1);
      b0 = b + 1;
      o0 = o + 1;
    }
    within(b0, b1, o0, o1, sign + 1);
  };
  within(0, base.length, 0, others.length, 0);
  return others.map((one, n) => ({ ...one, key: keys.get(n) ?? one.key }));
}

/**
 * What became of each segment of `base` on one side, and what is new behind it; at 0 what is new before the first.
 * @param {Segment[]} base
 * @param {Segment[]} side
 */
function fates(base, side) {
  const place = new Map(base.map((one, n) => [one.key, n + 1]));
  /** @type {Segment[][]} */
  const found = Array.from({ length: base.length + 1 }, () => []);
  let reached = 0;
  for (const one of side) {
    reached = Math.max(reached, place.get(one.key) ?? 0);
    found[reached].push(one);
  }
  return found;
}

/**
 * Three ways: what one side alone has changed is taken. Keys say which segment is which (`align`).
 * @param {State} base
 * @param {State} mine
 * @param {State} theirs
 * @returns {Merged}
 */
export function merge(base, mine, theirs) {
  const [ours, others] = [fates(base.segments, mine.segments), fates(base.segments, theirs.segments)];
  /** @type {{ base: Segment[], mine: Segment[], theirs: Segment[] }[]} */
  const places = [];
  // a segment that is gone where the one before it was changed too has been joined with it: they are one place
  const joined = (/** @type {Segment[][]} */ side, /** @type {number} */ n) => n > 1 && side[n].length === 0 && !sameAll(side[n - 1], [base.segments[n - 2]]);
  for (let n = 0; n < ours.length; n++) {
    const last = places.at(-1);
    const was = n ? [base.segments[n - 1]] : [];
    if (last && (joined(ours, n) || joined(others, n))) {
      last.base.push(...was);
      last.mine.push(...ours[n]);
      last.theirs.push(...others[n]);
    } else places.push({ base: was, mine: [...ours[n]], theirs: [...others[n]] });
  }
  let taken = 0;
  const parts = places.map((place) => {
    const changed = !sameAll(place.base, place.mine);
    if (changed && sameAll(place.base, place.theirs)) return place.mine;
    if (!sameAll(place.mine, place.theirs)) taken++;
    if (!changed || sameAll(place.mine, place.theirs)) return place.theirs;
    const one = place.base.length === 1 && place.mine.length === 1 && place.theirs.length === 1 && fields(place.base[0], place.mine[0], place.theirs[0]);
    if (one) return [one];
    taken--;
    return /** @type {Conflict} */ ({ mine: place.mine, theirs: place.theirs, take: "mine" });
  });
  const conflicts = /** @type {Conflict[]} */ (parts.filter((part) => !Array.isArray(part)));
  const who = new Map(base.segments.map((one) => [one.key, one.speaker]));
  const left = new Set(theirs.speakers?.map(({ id }) => id));
  /** @type {Merged["moved"]} */
  const moved = new Map();
  for (const one of theirs.segments) {
    const before = who.get(one.key);
    if (before && !left.has(before)) moved.set(before, one.speaker);
  }
  return { parts, conflicts, speakers: people(base.speakers, mine.speakers, theirs.speakers), moved, taken };
}

/**
 * One segment of both sides, or null where they changed the same of it.
 * @param {Segment} base
 * @param {Segment} mine
 * @param {Segment} theirs
 * @returns {Segment | null}
 */
function fields(base, mine, theirs) {
  const texts = base.text !== mine.text ? mine : theirs;
  const made = { ...texts, key: base.key };
  if (mine.text !== theirs.text && base.text !== mine.text && base.text !== theirs.text) return null;
  for (const names of /** @type {const} */ ([["start", "end"], ["speaker"], ["translation"]])) {
    const differ = (/** @type {Segment} */ one, /** @type {Segment} */ other) => names.some((name) => one[name] !== other[name]);
    if (differ(base, mine) && differ(base, theirs) && differ(mine, theirs)) return null;
    const side = differ(base, mine) ? mine : theirs;
    for (const name of names) Reflect.set(made, name, side[name]);
  }
  return made;
}

/**
 * Names that both gave are ours.
 * @param {Speaker[] | null} base
 * @param {Speaker[] | null} mine
 * @param {Speaker[] | null} theirs
 */
function people(base, mine, theirs) {
  const find = (/** @type {Speaker[] | null} */ some, /** @type {string} */ id) => some?.find((one) => one.id === id);
  const gone = mine?.flatMap((one) => one.was ?? []) ?? [];
  return theirs && theirs.filter(({ id }) => !gone.includes(id)).map((one) => {
    const ours = find(mine, one.id);
    return { ...one, name: ours && ours.name !== find(base, one.id)?.name ? ours.name : one.name, was: ours?.was };
  });
}

/**
 * The one state, by the side that each conflict takes.
 * @param {Merged} merged
 * @param {Side} [all] whatever they say
 * @returns {State}
 */
export function settle({ parts, speakers, moved }, all) {
  const segments = parts.flatMap((part) => (Array.isArray(part) ? part : part[all ?? part.take]));
  const ordered = segments.every((one, n) => n === 0 || segments[n - 1].start <= one.start);
  // by their start, as the service wants them
  return { segments: known(ordered ? segments : [...segments].sort((one, other) => one.start - other.start), speakers, moved), speakers };
}

/**
 * Segments of speakers that there are: those whose speaker became another one are that one's.
 * @param {Segment[]} segments
 * @param {Speaker[] | null} speakers
 * @param {Map<string, string | null>} [moved]
 */
export function known(segments, speakers, moved = new Map()) {
  const now = new Map(moved);
  for (const { id, was = [] } of speakers ?? []) for (const one of [id, ...was]) now.set(one, id);
  return segments.map((one) => (one.speaker === null || now.get(one.speaker) === one.speaker ? one : { ...one, speaker: now.get(one.speaker) ?? null }));
}
