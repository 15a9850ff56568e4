/** The words of the page in the reader's language, and numbers and times in the reader's way. */

import { recall, remember } from "./memory.js";

/** @typedef {keyof typeof import("../../locales/en.js").default} Key */
/** @typedef {string | { one: string, other: string }} Text one and other: by `n` */

/** Languages that there is a file of, in their own words. */
export const LANGUAGES = { en: "English", de: "Deutsch" };

/** @type {Record<string, Text>} */
let words = {};
let locale = "en";
let plural = new Intl.PluralRules("en");

/** The language chosen here, else the browser's first that there is a file of. */
function wanted() {
  const chosen = recall("language", "");
  const asked = [chosen, ...navigator.languages].map((tag) => tag.slice(0, 2).toLowerCase());
  return asked.find((code) => code in LANGUAGES) ?? "en";
}

/** Has to be done before anything is shown. */
export async function loadWords() {
  const code = wanted();
  words = (code === "de" ? await import("../../locales/de.js") : await import("../../locales/en.js")).default;
  // the reader's own region, where the language is that of the page: 1.5 or 1,5, 12-hour clocks
  locale = navigator.languages.find((tag) => tag.toLowerCase().startsWith(code)) ?? code;
  plural = new Intl.PluralRules(locale);
  document.documentElement.lang = code;
}

/** @param {keyof typeof LANGUAGES} code */
export function chooseLanguage(code) {
  remember("language", code);
  location.reload();
}

export const chosenLanguage = () => document.documentElement.lang;

/**
 * A text with `{name}` filled in; numbers in the reader's way.
 * @param {Key} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const found = words[key] ?? key;
  const text = typeof found === "string" ? found : plural.select(Number(values.n)) === "one" ? found.one : found.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : (value ?? whole);
  });
}

/**
 * A text for something whose name comes from the service (a stage, an error's code); the name itself where there is none,
 * since a newer service may know more than these files.
 * @param {string} group such as `stage`
 * @param {string} name
 * @param {string} [otherwise]
 */
export function named(group, name, otherwise = name) {
  const key = `${group}.${name}`;
  return key in words ? t(/** @type {Key} */ (key)) : otherwise;
}

/**
 * @param {number} value
 * @param {Intl.NumberFormatOptions} [options]
 */
export const number = (value, options = { maximumFractionDigits: 1 }) => new Intl.NumberFormat(locale, options).format(value);

/** @param {number} percent 0 to 100 */
export const percentage = (percent) => number(percent / 100, { style: "percent", maximumFractionDigits: 0 });

/**
 * @param {string} iso
 * @param {boolean} [whole] with date and seconds, for a tooltip
 */
export function moment(iso, whole = false) {
  const time = new Date(iso);
  const today = time.toDateString() === new Date().toDateString();
  /** @type {Intl.DateTimeFormatOptions} */
  const options = whole ? { dateStyle: "full", timeStyle: "medium" } : today ? { timeStyle: "short" } : { dateStyle: "medium" };
  return new Intl.DateTimeFormat(locale, options).format(time);
}

/**
 * A length in words: 45 s, 3 min, 2 h 5 min.
 * @param {number} seconds
 */
export function span(seconds) {
  const unit = (/** @type {number} */ value, /** @type {string} */ name) =>
    number(value, { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: seconds < 10 ? 1 : 0 });
  if (seconds < 59.5) return unit(seconds, "second");
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return unit(minutes, "minute");
  const rest = minutes % 60;
  return unit(Math.floor(minutes / 60), "hour") + (rest ? ` ${unit(rest, "minute")}` : "");
}

/**
 * A place in a recording: 0:05, 12:34, 1:02:03.
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let step = 0;
  let value = bytes;
  for (; value >= 999.5 && step < units.length - 1; step++) value /= 1000;
  return number(value, { style: "unit", unit: units[step], unitDisplay: "short", maximumFractionDigits: value < 10 && step ? 1 : 0 });
}
