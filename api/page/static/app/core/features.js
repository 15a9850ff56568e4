/** What this installation can do: it changes when the service is started anew, and when somebody can listen again. */

import { ask } from "./api.js";

/** @typedef {import("./api.js").Schemas["FeaturesBody"]} Features */

/** What may be otherwise in a moment is believed for so long. */
const UNSETTLED = 3000; // milliseconds

/** @type {Promise<Features> | undefined} */
let asked;
let until = Infinity;

/** Throws ApiError; then it is asked for again the next time. */
export function features() {
  if (Date.now() > until) asked = undefined;
  return (asked ??= look());
}

async function look() {
  until = Infinity;
  try {
    /** @type {Features} */
    const found = await ask("GET", "features");
    if (!found.live.available) until = Date.now() + UNSETTLED;
    return found;
  } catch (error) {
    asked = undefined;
    throw error;
  }
}
