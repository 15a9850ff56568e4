/** Waits for what passes by itself: a service that is away or busy, or that is still making what is asked for. */

import { ApiError } from "../core/api.js";

const PASSING = [0, 409, 429, 502, 503, 504];

/** @param {number} seconds */
export const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

/**
 * Throws what does not pass, and AbortError.
 * @template T
 * @param {() => Promise<T>} request
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
export async function patiently(request, signal) {
  for (let wait = 1; ; wait = Math.min(2 * wait, 10)) {
    try {
      return await request();
    } catch (error) {
      if (signal.aborted || !(error instanceof ApiError) || !PASSING.includes(error.status)) throw error;
      await pause(error.retryAfter || wait);
    }
  }
}
