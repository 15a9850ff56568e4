/** What can be asked for here, and what it costs. */

import { ask, url } from "../core/api.js";
import { chosenLanguage } from "../core/words.js";

/**
 * @typedef {object} Offer
 * @property {string[]} options that there are
 * @property {Record<string, any>} usual what a job has that says nothing
 * @property {import("../core/api.js").Schemas["ModelBody"][]} models
 * @property {boolean} denoises whether there is somebody who can
 * @property {Map<string, { wall: number, audio: number, files: number }>} costs by model: seconds that it took, of sound
 */

const SHORT = 30; // of these, most is the beginning

/** Those of Whisper, by its own codes. */
export const LANGUAGES =
  "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue".split(" ");

/** @type {Record<string, string>} that browsers have no names for: their own */
const OWN = { ba: "башҡортса", bo: "བོད་སྐད་" };
const names = new Intl.DisplayNames(chosenLanguage(), { type: "language", fallback: "none" });

/** @param {string} code */
export const languageName = (code) => names.of(code.replace("jw", "jv")) ?? OWN[code] ?? code;

/** @type {(signal: AbortSignal) => Promise<Offer>} */
export async function offer(signal) {
  const find = (/** @type {string} */ path, query = {}) => ask("GET", path, { query, signal });
  const [{ options }, models, done, system, described] = await Promise.all([
    find("features"),
    find("models"),
    find("jobs", { status: "completed", limit: 50 }).catch(() => ({ items: [] })),
    find("system").catch(() => ({})),
    find(url("../../openapi.json")).catch(() => ({})), // says what is usual in this installation
  ]);
  const form = described.paths?.["/api/v1/jobs"]?.post.requestBody.content["multipart/form-data"].schema.properties ?? {};
  const usual = Object.fromEntries(Object.entries(form).map(([name, about]) => [name, about.default]));
  const denoises = !system.consumers?.length || system.consumers.some((/** @type {any} */ one) => one.enhance?.includes("denoise"));
  /** @type {Offer["costs"]} */
  const costs = new Map();
  for (const { params, performance, audio } of done.items) {
    const sum = costs.get(params.model) ?? { wall: 0, audio: 0, files: 0 };
    if (audio.duration >= SHORT) costs.set(params.model, { wall: sum.wall + performance.wall, audio: sum.audio + audio.duration, files: sum.files + 1 });
  }
  return { options, usual: { ...usual, model: models.default }, models: models.items, denoises, costs };
}
