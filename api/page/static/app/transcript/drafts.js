/** What is not saved yet, kept by the browser itself: it outlives a reload, a crash, and a service that is away. */

import { newKey } from "./model.js";
import { retext, same } from "./segments.js";

/** @typedef {import("./model.js").Segment} Segment */

/**
 * @typedef {object} Draft
 * @property {string} job
 * @property {string} window
 * @property {number} at ms
 * @property {number} revision the one that was edited
 * @property {(number | Record<string, any>)[]} segments place in that revision, or what it is now (`id`: that place)
 * @property {import("./model.js").Speaker[] | null} speakers
 */

/** @template T @param {(store: IDBObjectStore) => IDBRequest<T>} act @returns {Promise<T>} */
const within = (act) =>
  new Promise((resolve, reject) => {
    const opened = indexedDB.open("parascribe.drafts", 1);
    opened.onupgradeneeded = () => opened.result.createObjectStore("drafts", { keyPath: ["job", "window"] });
    opened.onerror = () => reject(opened.error);
    opened.onsuccess = () => {
      const change = opened.result.transaction("drafts", "readwrite");
      const asked = act(change.objectStore("drafts"));
      change.oncomplete = () => (opened.result.close(), resolve(asked.result));
      change.onabort = () => (opened.result.close(), reject(change.error));
    };
  });

export const keep = (/** @type {Draft} */ draft) => within((store) => store.put(draft));
export const forget = (/** @type {string} */ job, /** @type {string} */ window) => within((store) => store.delete([job, window]));

/**
 * Those of a job, the newest first; none where the browser keeps nothing.
 * @param {string} job
 * @returns {Promise<Draft[]>}
 */
export async function drafts(job) {
  const found = await within((store) => store.getAll(IDBKeyRange.bound([job], [job, []]))).catch(() => []);
  return found.sort((one, other) => other.at - one.at);
}

/**
 * @param {Segment[]} segments
 * @param {Segment[]} base
 * @param {boolean} whole of every segment all, as the service wants it; else places for those that are as they were
 */
export function packed(segments, base, whole) {
  const place = new Map(base.map((one, n) => [one.key, n]));
  return segments.map((one) => {
    const id = place.get(one.key);
    const { start, end, text, speaker, translation } = one;
    const was = id === undefined ? null : base[id];
    if (was && !whole && same(was, one)) return /** @type {number} */ (id);
    return {
      ...(was && { id }),
      start,
      end,
      text,
      ...(speaker !== (was?.speaker ?? null) && { speaker }),
      ...(translation !== (was?.translation ?? null) && { translation }),
    };
  });
}

/**
 * @param {Draft["segments"]} segments
 * @param {Segment[]} base
 * @returns {Segment[]}
 */
export function unpacked(segments, base) {
  return segments.map((one) => {
    if (typeof one === "number") return base[one];
    const { id, text, ...more } = one;
    const was = base[id] ?? { key: newKey(), text: "", words: null, speaker: null, channel: null, translation: null, flags: [] };
    return { ...retext(was, text), ...more };
  });
}
