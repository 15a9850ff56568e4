/** How sure the model was of each word, and whether that is shown. */

import { recall, remember } from "../core/memory.js";

/** Whisper gives a decode up whose mean log-probability is below -1: a word below e^-1 would not have passed. Half of that on its scale is unsure. */
export const DOUBTFUL = 0.37;
export const UNSURE = 0.6;

/** @param {number | null} probability @returns {string} class, with a blank before it */
export const shade = (probability) => (probability === null || probability >= UNSURE ? "" : probability < DOUBTFUL ? " unsure doubtful" : " unsure");

export const isShown = () => recall("doubt", true);

/** @param {boolean} on */
export function showDoubt(on) {
  remember("doubt", on);
  document.documentElement.classList.toggle("no-doubt", !on);
}

/**
 * The nearest doubtful word before or behind a place.
 * @param {import("./model.js").Transcript} transcript
 * @param {{ index: number, n: number }} from
 * @param {1 | -1} step
 * @returns {{ index: number, n: number } | null}
 */
export function nextDoubt({ segments }, from, step) {
  let { index, n } = from;
  for (; segments[index]; index += step) {
    const words = segments[index].words ?? [];
    for (n += step; words[n]; n += step) {
      const { probability } = words[n];
      if (probability !== null && probability < UNSURE) return { index, n };
    }
    n = step > 0 ? -1 : (segments[index - 1]?.words?.length ?? 0);
  }
  return null;
}
