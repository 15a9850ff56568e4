/** What this installation can do: asked for once, since it changes only when the service is started anew. */

import { ask } from "./api.js";

/** @type {Promise<import("./api.js").Schemas["FeaturesBody"]> | undefined} */
let asked;

/** Throws ApiError; then it is asked for again the next time. */
export function features() {
  return (asked ??= ask("GET", "features").catch((error) => {
    asked = undefined;
    throw error;
  }));
}
