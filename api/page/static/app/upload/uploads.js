/** All files on their way to the service: three at once, again and again until they are there, and after a reload too. */

import { ApiError, ask } from "../core/api.js";
import { me } from "../core/who.js";
import { batchOf, close, lasts, wait } from "./batches.js";
import { all, alone, drop, find, keep } from "./store.js";
import { begin, giveUp, next, where } from "./tus.js";

/** @typedef {Record<string, unknown>} Options of a job */
/**
 * @typedef {object} Item
 * @property {string} id
 * @property {string | null} owner nobody else sends it
 * @property {string} name
 * @property {number} size
 * @property {number} modified
 * @property {string | null} group
 * @property {Options} options
 * @property {string | null} upload id at the service
 * @property {number} sent bytes
 * @property {"waiting" | "sending" | "retrying" | "paused" | "missing" | "refused" | "failed"} state missing: its file has
 *   to be chosen again; refused: its options were
 * @property {Error | null} error
 * @property {number} speed bytes per second; 0: not known
 * @property {File | null} file
 * @property {boolean} kept whether the browser has the file itself
 * @property {AbortController | null} stop
 * @property {(done: unknown) => void} [leave] lets other tabs have it
 */

const AT_ONCE = 3;
const KEPT = 512e6; // bytes of files that the browser keeps
const REFUSED = ["validation", "unknown_model", "task_not_supported", "not_available"];

let made = 0;
/** In the order in which they are made. */
const newId = () => [Date.now(), String(made++).padStart(5, "0"), ...crypto.getRandomValues(new Uint32Array(2))].join("-");

/** Tells `change`, `job` (detail: its id) and `refused` (detail: the ApiError of the options). */
class Uploads extends EventTarget {
  /** @type {Item[]} */
  #items = [];
  /** @type {Map<string, import("./batches.js").Group>} */
  #groups = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #kept = 0;
  /** what has come of those that are shown together */
  done = { files: 0, bytes: 0 };

  constructor() {
    super();
    addEventListener("beforeunload", (event) => {
      if (this.#items.some(({ file, kept, state }) => file && !kept && state !== "failed")) event.preventDefault();
    });
    void this.#restore();
  }

  get items() {
    return this.#items.filter(({ owner }) => owner === me.owner);
  }

  /**
   * Two or more, or a folder, become one batch. A file that an entry waits for goes on there.
   * @type {(files: File[], options: Options, folder: string | null) => Promise<void>}
   */
  async add(files, options, folder) {
    if (!this.items.length) this.done = { files: 0, bytes: 0 };
    const fresh = files.filter((file) => {
      const known = this.items.find((one) => !one.file && one.name === file.name && one.size === file.size && one.modified === file.lastModified);
      if (known) {
        known.file = file;
        if (known.state === "missing") known.state = "waiting";
        void this.#keepFile(known);
      }
      return !known;
    });
    const group = fresh.length > (folder === null ? 1 : 0) ? { id: newId(), owner: me.owner, name: folder, batch: null } : null;
    if (group) this.#groups.set(group.id, group);
    const items = fresh.map((file) => {
      const { name, size, lastModified: modified } = file;
      const item = this.#hold({ id: newId(), owner: me.owner, name, size, modified, group: group?.id ?? null, options }, file, false);
      void alone(item.id, () => new Promise((leave) => (item.leave = leave)));
      return item;
    });
    this.go();
    await keep("uploads", items.map(record));
    if (group) await keep("groups", [group]); // behind its files: without any it would be closed
    for (const item of items) await this.#keepFile(item);
  }

  /** @param {Item} item */
  pause(item) {
    item.state = "paused";
    this.#stop(item);
  }

  /**
   * Goes on with one that is paused, or tries again what was refused (with these options, the others of its batch too) or failed.
   * @type {(item: Item, options: Options) => void}
   */
  resume(item, options) {
    const { group, state } = item;
    for (const one of state === "refused" && group ? this.#items.filter((other) => other.group === group && other.state === state) : [item]) {
      if (state === "refused") one.options = options;
      if (state === "failed") Object.assign(one, { upload: null, sent: 0, group: null }); // its batch may be closed
      one.state = one.file ? "waiting" : "missing";
      one.error = null;
      this.#save(one);
    }
    this.go();
  }

  /** @param {Item} item */
  cancel(item) {
    if (!this.#items.includes(item)) return; // it has become a job meanwhile
    this.#remove(item);
    if (item.upload && item.state !== "failed") void giveUp(item.upload).catch(() => {}); // it is forgotten in a day
  }

  /** @param {Item} item */
  #stop(item) {
    item.stop?.abort();
    item.stop = null;
    item.speed = 0;
    this.#save(item);
    this.go();
  }

  /** @param {Item} item */
  #remove(item) {
    this.#items = this.#items.filter((one) => one !== item);
    this.#stop(item);
    this.#forget(item);
    void drop("uploads", item.id).then(() => {
      item.leave?.(null);
      return this.#settle(item.group ?? "");
    });
  }

  /** @param {Item} item */
  #save(item) {
    if (this.#items.includes(item)) void keep("uploads", [record(item)]);
    this.#changed();
  }

  /** @param {Item} item */
  async #keepFile(item) {
    if (!item.file || this.#kept + item.size > KEPT || !this.#items.includes(item)) return;
    this.#kept += item.size;
    item.kept = await keep("files", [item.file], item.id);
    if (!item.kept) this.#kept -= item.size;
    else if (!this.#items.includes(item)) this.#forget(item);
  }

  /** @param {Item} item */
  #forget(item) {
    if (item.kept) this.#kept -= item.size;
    void drop("files", item.id);
  }

  #changed() {
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.dispatchEvent(new Event("change"));
    }, 50);
  }

  /** @type {(known: Pick<Item, "id" | "owner" | "name" | "size" | "modified" | "group" | "options">, file: File | null, kept: boolean) => Item} */
  #hold(known, file, kept) {
    /** @type {Item} */
    const item = { upload: null, sent: 0, state: "waiting", error: null, ...known, speed: 0, file, kept, stop: null };
    this.#items.push(item);
    return item;
  }

  async #restore() {
    for (const group of await all("groups")) this.#groups.set(group.id, group);
    for (const { id } of await all("uploads")) {
      void alone(id, async () => {
        const known = await find("uploads", id);
        if (!known) return; // another tab has sent it
        const file = (await find("files", id)) ?? null;
        const group = known.group && (await find("groups", known.group));
        if (group) this.#groups.set(group.id, group);
        const item = this.#hold(known, file, file !== null);
        if (file) this.#kept += item.size;
        this.go();
        await new Promise((leave) => (item.leave = leave));
      });
    }
    this.go();
  }

  /** Starts as many as may be under way, of whoever is here now. */
  go() {
    this.#changed();
    let free = AT_ONCE - this.#items.filter((item) => item.stop).length;
    for (const item of this.items) if (item.state === "waiting" && free-- > 0) void this.#run(item);
    for (const id of this.#groups.keys()) void this.#settle(id);
  }

  /** @param {Item} item */
  async #run(item) {
    const { signal } = (item.stop = new AbortController());
    for (let tries = 0; !signal.aborted; tries++) {
      const before = item.sent;
      item.state = item.owner === me.owner ? "sending" : "waiting";
      if (item.state === "waiting") return this.#stop(item);
      this.#changed();
      try {
        const job = await this.#send(item, signal);
        this.done.files++;
        this.done.bytes += item.size;
        this.dispatchEvent(new CustomEvent("job", { detail: job }));
        return this.#remove(item);
      } catch (error) {
        if (signal.aborted) return;
        if (item.sent > before) tries = 0;
        const what = error instanceof ApiError ? error : new ApiError(400, { detail: String(error) });
        const state = await this.#judge(item, what);
        if (signal.aborted) return;
        Object.assign(item, { error: what, speed: 0, state });
        if (state !== "retrying") return this.#stop(item);
        this.#save(item);
        await wait(tries, what.retryAfter, signal);
      }
    }
  }

  /** @type {(item: Item, signal: AbortSignal) => Promise<string>} gives the id of the job */
  async #send(item, signal) {
    const { file } = item;
    const group = this.#groups.get(item.group ?? "");
    let place = item.upload ? await where(item.upload, signal) : { offset: 0, job: null };
    item.sent = place.offset;
    if (place.job !== null) return place.job;
    if (!file) throw new ApiError(0, {});
    if (!item.upload) {
      // somebody else may have logged in, in another tab
      if (me.needed && (await ask("GET", "session", { signal })).owner !== item.owner) throw new ApiError(401, { code: "unauthorized" });
      const more = group ? { batch: await batchOf(group, item.options) } : item.options;
      item.upload = await begin(item.size, { filename: item.name, ...more }, signal);
      this.#save(item);
    }
    let since = { time: performance.now(), sent: item.sent };
    while (place.job === null) {
      place = await next(item.upload, file, place.offset, signal, (sent) => {
        item.sent = sent;
        item.error = null;
        const seconds = (performance.now() - since.time) / 1000;
        if (seconds < 0.5) return;
        const speed = (sent - since.sent) / seconds;
        item.speed = item.speed ? 0.8 * item.speed + 0.2 * speed : speed;
        since = { time: performance.now(), sent };
        this.#changed();
      });
    }
    return place.job;
  }

  /** What becomes of one after an error. @type {(item: Item, error: ApiError) => Promise<Item["state"]>} */
  async #judge(item, error) {
    // to a request, a file that has been changed or removed looks like a network that broke
    if (!(await item.file?.slice(0, 1).arrayBuffer().then(() => true, () => false))) return "missing";
    if (["upload_not_found", "expired"].includes(error.code)) {
      Object.assign(item, { upload: null, sent: 0 }); // forgotten, so from the beginning
      return "retrying";
    }
    if (item.upload || !REFUSED.includes(error.code)) return lasts(error) ? "failed" : "retrying";
    for (const one of this.#items) {
      if (item.group && one.group === item.group && !one.upload && one.state === "waiting") Object.assign(one, { state: "refused", error });
    }
    this.dispatchEvent(new CustomEvent("refused", { detail: error }));
    return "refused";
  }

  /** Closes the batch when its last file has come, however long that takes. @param {string} id */
  async #settle(id) {
    const group = this.#groups.get(id);
    const open = (/** @type {Item} */ one) => one.group === id && one.state !== "failed";
    if (!group || group.owner !== me.owner || this.#items.some(open) || (await all("uploads")).some(open) || !this.#groups.delete(id)) return;
    await close(group);
  }
}

/** What is kept of an entry. @param {Item} item */
function record({ id, owner, name, size, modified, group, options, upload, sent, state, error }) {
  const kept = { id, owner, name, size, modified, group, options, upload, sent };
  return { ...kept, ...(["paused", "missing", "failed"].includes(state) ? { state, error } : { state: "waiting", error: null }) };
}

export const uploads = new Uploads();
