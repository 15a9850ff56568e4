/** Who uses the page, as the service knows them. */

/** @typedef {import("./api.js").Schemas["SessionBody"]} Session */

export const me = {
  /** whether a key is needed here at all */
  needed: false,
  /** @type {string | null} */
  owner: null,
  /** @type {string[]} */
  scopes: [],

  /** @param {Session} found */
  set(found) {
    this.needed = found.needed;
    this.owner = found.owner ?? null;
    this.scopes = found.scopes;
  },
};
