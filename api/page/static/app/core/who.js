/** Who uses the page, as the service knows them. */

/** @typedef {import("./api.js").Schemas["SessionBody"]} Session */

export const me = {
  /** whether the service has said who this is; until then nothing was shown that a login could lose */
  known: false,
  /** whether a key is needed here at all */
  needed: false,
  /** @type {string | null} */
  owner: null,
  /** @type {string[]} */
  scopes: [],

  /** without keys everybody on this machine is the administrator */
  get admin() {
    return this.scopes.includes("admin");
  },

  /** @param {Session} found */
  set(found) {
    this.known = true;
    this.needed = found.needed;
    this.owner = found.owner ?? null;
    this.scopes = found.scopes;
  },

  /** @param {Session} found whether all that is shown here was shown to the same somebody */
  is(found) {
    return found.needed === this.needed && found.owner === this.owner && found.scopes.join() === this.scopes.join();
  },
};
