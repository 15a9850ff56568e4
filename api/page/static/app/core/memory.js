/** What this browser remembers of its user's choices. Where it may not (private windows), they last as long as the page. */

/** @type {Map<string, unknown>} */
const kept = new Map();
const PREFIX = "parascribe.";

/**
 * @template T
 * @param {string} name
 * @param {T} otherwise
 * @returns {T}
 */
export function recall(name, otherwise) {
  if (kept.has(name)) return /** @type {T} */ (kept.get(name));
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/**
 * @param {string} name
 * @param {unknown} value undefined: forget it
 */
export function remember(name, value) {
  kept.set(name, value);
  if (value === undefined) kept.delete(name);
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // for this page alone, then
  }
}
