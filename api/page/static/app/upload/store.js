/** What outlives a reload, by id in IndexedDB. A browser that gives none (or no more room) is no error: it is gone then. */

/** @typedef {"uploads" | "groups" | "files"} Shelf */

/** @type {Promise<IDBDatabase> | undefined} */
let opened;

const database = () =>
  (opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open("parascribe", 1);
    asked.onupgradeneeded = () => ["uploads", "groups", "files"].forEach((shelf) => asked.result.createObjectStore(shelf));
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  }));

/** @type {(shelf: Shelf, mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest | void) => Promise<any>} */
async function within(shelf, mode, work) {
  const change = (await database()).transaction(shelf, mode);
  const asked = work(change.objectStore(shelf));
  return new Promise((resolve, reject) => {
    change.oncomplete = () => resolve(asked?.result);
    change.onabort = () => reject(change.error);
  });
}

/**
 * Whether they will be there after a reload: all or none.
 * @type {(shelf: Shelf, values: any[], id?: string) => Promise<boolean>} id: of values that have none of their own
 */
export const keep = (shelf, values, id) =>
  within(shelf, "readwrite", (store) => values.forEach((value) => store.put(value, id ?? value.id))).then(() => true, () => false);

/** @type {(shelf: Shelf, id: string) => Promise<void>} */
export const drop = (shelf, id) => within(shelf, "readwrite", (store) => void store.delete(id)).catch(() => {});

/** @type {(shelf: Shelf, id: string) => Promise<any>} */
export const find = (shelf, id) => within(shelf, "readonly", (store) => store.get(id)).catch(() => {});

/** @type {(shelf: Shelf) => Promise<any[]>} */
export const all = (shelf) => within(shelf, "readonly", (store) => store.getAll()).catch(() => []);

/**
 * Does something when no other tab has the id, and has it until that is done.
 * @type {(id: string, work: () => Promise<unknown>) => unknown}
 */
export const alone = (id, work) => (navigator.locks ? navigator.locks.request(`parascribe.${id}`, work) : work()); // none by plain http
