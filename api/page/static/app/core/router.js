/** Places of the page, as `#/jobs/<id>?t=12.5`: they can be bookmarked, and work below any path of a proxy. */

/**
 * @typedef {object} Place
 * @property {string[]} path
 * @property {URLSearchParams} query
 */

/**
 * @typedef {(main: HTMLElement, place: Place, signal: AbortSignal) => void | Promise<void>} Show
 * Builds a view in `main`. `signal` is aborted when it is left: listeners on document and window, requests and followers
 * end with it. A change of the query alone does not build it anew; it is told by `hashchange`.
 */

/** @returns {Place} */
export function here() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { path: (path ?? "").split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query ?? "") };
}

/**
 * @param {readonly string[]} path
 * @param {Record<string, string>} [query]
 */
export function to(path, query = {}) {
  const asked = new URLSearchParams(query).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${asked ? `?${asked}` : ""}`;
}

/**
 * Says in the address what is looked at, without a new entry in the history.
 * @param {Record<string, string | null>} query null takes a thing out
 */
export function note(query) {
  const { path, query: found } = here();
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === "") found.delete(name);
    else found.set(name, value);
  }
  history.replaceState(history.state, "", to(path, Object.fromEntries(found)));
}
