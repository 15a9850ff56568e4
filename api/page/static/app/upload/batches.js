/** Files that were chosen together become one batch: made before the first of them, closed behind the last. */

import { ApiError, ask, send } from "../core/api.js";
import { me } from "../core/who.js";
import { drop, keep } from "./store.js";

/** @typedef {{ id: string, owner: string | null, name: string | null, batch: string | null }} Group */

/** @type {Map<string, Promise<string>>} */
const making = new Map();

/** Whether trying again is of no use. @param {ApiError} error */
export const lasts = ({ status, code }) =>
  status > 0 && status < 500 && ![401, 408, 423, 425, 429].includes(status) && !["offset_conflict", "idempotency_in_flight"].includes(code);

/**
 * Waits before the next try: longer each time, but not when the network is back.
 * @type {(tries: number, seconds?: number, signal?: AbortSignal) => Promise<unknown>}
 */
export const wait = (tries, seconds = 0, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, 1000 * Math.max(seconds, Math.min(30, 2 ** tries)));
    addEventListener("online", resolve, { once: true, signal });
    signal?.addEventListener("abort", resolve);
  });

/** The id of a group's batch. @type {(group: Group, options: Record<string, unknown>) => Promise<string>} */
export async function batchOf(group, options) {
  if (group.batch) return group.batch;
  let made = making.get(group.id);
  if (!made) {
    const json = { params: options, metadata: group.name && { name: group.name.slice(0, 200) } };
    made = ask("POST", "batches", { json, headers: { "Idempotency-Key": group.id } })
      .then(({ id }) => {
        group.batch = id;
        void keep("groups", [group]);
        return id;
      })
      .finally(() => making.delete(group.id));
    making.set(group.id, made);
  }
  return made;
}

/** Closes it, however long that takes; one that nothing has come of is removed. @param {Group} group */
export async function close({ id, owner, batch }) {
  for (let tries = 0; batch && owner === me.owner; tries++) {
    try {
      const { counts } = await ask("POST", `batches/${batch}/close`);
      if (!counts.total) await send("DELETE", `batches/${batch}`);
      break;
    } catch (error) {
      if (!(error instanceof ApiError) || lasts(error)) break;
      await wait(tries);
    }
  }
  if (owner === me.owner) await drop("groups", id);
}
