/** What can be asked for here, and what it costs. */

import { ask } from "../core/api.js";
import { features } from "../core/features.js";
import { chosenLanguage } from "../core/words.js";

/**
 * @typedef {object} Offer
 * @property {string[]} options that there are
 * @property {string[]} languages codes
 * @property {Record<string, any>} usual what a job has that says nothing
 * @property {import("../core/api.js").Schemas["ModelBody"][]} models
 * @property {import("../core/features.js").Features["translation"]} translation who translates what
 * @property {boolean} denoises whether there is somebody who can
 * @property {Map<string, { wall: number, audio: number, files: number }>} costs by model: seconds that it took, of sound
 */

const SHORT = 30; // of these, most is the beginning

/** @type {Record<string, string>} that browsers have no names for: their own */
const OWN = { ba: "башҡортса", bo: "བོད་སྐད་" };
const names = new Intl.DisplayNames(chosenLanguage(), { type: "language", fallback: "none" });

/** @param {string} code */
export const languageName = (code) => names.of(code.replace("jw", "jv")) ?? OWN[code] ?? code;

/** Codes in the order of their names, those that the reader has chosen in the browser first. @param {string[]} codes */
export function byName(codes) {
  const isNear = (/** @type {string} */ code) => navigator.languages.some((tag) => tag.split("-")[0] === code);
  const sorted = [...codes].sort((a, b) => languageName(a).localeCompare(languageName(b), chosenLanguage()));
  return [...sorted.filter(isNear), ...sorted.filter((code) => !isNear(code))];
}

/** @type {(signal: AbortSignal) => Promise<Offer>} */
export async function offer(signal) {
  const find = (/** @type {string} */ path, query = {}) => ask("GET", path, { query, signal });
  const [{ options, defaults, languages, translation }, models, done, system] = await Promise.all([
    features(),
    find("models"),
    find("jobs", { status: "completed", limit: 50 }).catch(() => ({ items: [] })),
    find("system").catch(() => ({})),
  ]);
  const denoises = !system.consumers?.length || system.consumers.some((/** @type {any} */ one) => one.enhance?.includes("denoise"));
  /** @type {Offer["costs"]} */
  const costs = new Map();
  for (const { params, performance, audio } of done.items) {
    const sum = costs.get(params.model) ?? { wall: 0, audio: 0, files: 0 };
    if (audio.duration >= SHORT) costs.set(params.model, { wall: sum.wall + performance.wall, audio: sum.audio + audio.duration, files: sum.files + 1 });
  }
  return { options, languages: Object.keys(languages), translation, usual: { ...defaults, model: models.default }, models: models.items, denoises, costs };
}

/**
 * Languages in which what is said can be written beside it, as far as is known: who does not know yet what he can is believed.
 * @param {Offer} offer
 * @param {string} spoken its code; "" or auto: it will be found out
 * @param {string} model that hears it
 */
export function targets({ languages, translation, models }, spoken, model) {
  const source = spoken === "auto" ? "" : spoken;
  const translates = models.find(({ name }) => name === model)?.translates ?? false;
  const there = translation.filter(({ from_sound: fromSound }) => !fromSound || translates);
  return languages.filter((code) => code !== source && there.some(({ pairs }) =>
    pairs === null || pairs.some(({ sources, targets: all }) => all.includes(code) && (!sources || !source || sources.includes(source)))));
}
