/** What can be asked for here, and what it costs: asked for when the options are opened, not before. */

import { ask, url } from "../core/api.js";

/** @typedef {import("../core/api.js").Schemas["ModelBody"]} Model */
/**
 * @typedef {object} Offer
 * @property {string[]} options that there are
 * @property {Record<string, unknown>} usual what a job has that says nothing
 * @property {Model[]} models
 * @property {boolean} denoises whether there is somebody who can
 * @property {Map<string, { factor: number, files: number }>} costs by model: seconds of work for a second of sound
 */

/** @param {AbortSignal} signal @returns {Promise<Offer>} */
export async function offer(signal) {
  const query = { status: "completed", limit: 50 };
  const [features, models, done, system, described] = await Promise.all([
    ask("GET", "features", { signal }),
    ask("GET", "models", { signal }),
    ask("GET", "jobs", { query, signal }).catch(() => ({ items: [] })),
    ask("GET", "system", { signal }).catch(() => ({})),
    ask("GET", url("../../openapi.json"), { signal }).catch(() => ({})), // has the defaults of this installation
  ]);
  const form = described.paths?.["/api/v1/jobs"]?.post?.requestBody?.content?.["multipart/form-data"]?.schema?.properties ?? {};
  const usual = Object.fromEntries(Object.entries(form).map(([name, about]) => [name, about.default]));
  const denoises = !system.consumers?.length || system.consumers.some((/** @type {any} */ one) => one.enhance?.includes("denoise"));
  return { denoises, options: features.options, usual: { ...usual, model: models.default }, models: models.items, costs: costs(done.items) };
}

/** @param {import("../core/api.js").Schemas["JobBody"][]} jobs */
function costs(jobs) {
  /** @type {Map<string, { wall: number, audio: number, files: number }>} */
  const sums = new Map();
  for (const { params, performance, audio } of jobs) {
    const sum = sums.get(params.model) ?? { wall: 0, audio: 0, files: 0 };
    if (audio.duration && performance.wall) sums.set(params.model, { wall: sum.wall + performance.wall, audio: sum.audio + audio.duration, files: sum.files + 1 });
  }
  return new Map([...sums].map(([model, { wall, audio, files }]) => [model, { factor: wall / audio, files }]));
}
