/** Which files were meant: chosen or dropped, folders walked to the bottom, and what is no recording left out. */

/** @typedef {{ files: File[], folder: string | null, left: number }} Chosen folder: where they come from; left: how many were left out */

// no type is no answer, and some browsers have another for recordings: the service looks at the bytes
const TYPES = /^$|^(audio|video)\/|^application\/(octet-stream|ogg|mp4|mxf|x-matroska|vnd\.(rn-|ms-asf))/;
const NAMES = /\.(m?ts|m2ts|mxf|amr|awb|wma|wmv|asf|rm|3gp|m4b|mka|caf)$/i;
const LITTER = /^(\.|thumbs\.db$|desktop\.ini$)/i;

/** @type {(found: Iterable<File>, folder?: string | null) => Chosen} */
export function recordings(found, folder = null) {
  const all = [...found];
  const from = folder ?? (all[0]?.webkitRelativePath.split("/")[0] || null);
  const seen = all.filter(({ name }) => !from || !LITTER.test(name));
  const files = seen.filter(({ name, size, type }) => size && (TYPES.test(type) || NAMES.test(name)));
  return { files, folder: from, left: seen.length - files.length };
}

/**
 * What was dropped. Has to be called within the event: later the browser has forgotten it.
 * @type {(dropped: DataTransfer) => Promise<Chosen>}
 */
export async function dropped({ items, files }) {
  const entries = [...items].flatMap((item) => item.webkitGetAsEntry?.() ?? []);
  if (!entries.some((entry) => entry.isDirectory)) return recordings(files);
  const found = await Promise.all(entries.map(walk));
  return recordings(found.flat(), entries.map(({ name }) => name).join(", "));
}

/** @type {(entry: FileSystemEntry) => Promise<File[]>} */
async function walk(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject))];
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    // by hundreds, in Chromium
    const some = await new Promise((/** @type {(some: FileSystemEntry[]) => void} */ resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    for (const inner of some) found.push(...(await walk(inner)));
  }
}
