/** One file in parts, by tus 1.0: `POST /uploads`, `PATCH`, and asking how far it has come. */

import { ApiError, ask, send, session, url } from "../core/api.js";

/** @typedef {{ offset: number, job: string | null }} Place job: its id, when all is there */

const VERSION = { "Tus-Resumable": "1.0.0" };
const PART = 16 * 2 ** 20; // as the service stores them
const STALLED = 60_000;

/** @param {unknown} value */
function base64(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
}

/**
 * The id of a new upload: size and options are checked before any byte is sent.
 * @type {(size: number, metadata: Record<string, unknown>, signal: AbortSignal) => Promise<string>}
 */
export async function begin(size, metadata, signal) {
  const given = Object.entries(metadata).map(([name, value]) => `${name} ${base64(value)}`).join();
  return (await ask("POST", "uploads", { headers: { ...VERSION, "Upload-Length": `${size}`, "Upload-Metadata": given }, signal })).id;
}

/** @type {(id: string, signal: AbortSignal) => Promise<Place>} */
export async function where(id, signal) {
  const { offset, job } = await ask("GET", `uploads/${id}`, { signal });
  return { offset, job: job?.split("/").pop() ?? null };
}

/** @param {string} id */
export const giveUp = (id) => send("DELETE", `uploads/${id}`, { headers: VERSION });

/**
 * Sends the next part. Throws ApiError and AbortError.
 * @type {(id: string, file: File, offset: number, signal: AbortSignal, progress: (sent: number) => void) => Promise<Place>}
 */
export const next = (id, file, offset, signal, progress) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much has left
    const abort = () => request.abort();
    let timer = setTimeout(abort, STALLED);
    const watch = (/** @type {number} */ most) => {
      clearTimeout(timer);
      timer = setTimeout(abort, most);
    };
    request.open("PATCH", url(`uploads/${id}`));
    const headers = { ...VERSION, "Upload-Offset": `${offset}`, "Content-Type": "application/offset+octet-stream" };
    Object.entries(headers).forEach(([name, value]) => request.setRequestHeader(name, value));
    request.upload.onprogress = ({ loaded }) => {
      watch(STALLED);
      progress(offset + loaded);
    };
    request.upload.onload = () => watch(5 * STALLED); // it is stored now
    request.onload = () => {
      const header = (/** @type {string} */ name) => request.getResponseHeader(name);
      if (request.status === 204) return resolve({ offset: Number(header("Upload-Offset")), job: header("X-Parascribe-Job") });
      if (request.status === 401) session.dispatchEvent(new Event("login"));
      let problem = {};
      try {
        problem = JSON.parse(request.responseText);
      } catch {
        // a proxy's own page
      }
      reject(new ApiError(request.status, problem, Number(header("Retry-After"))));
    };
    request.onabort = request.onerror = () => reject(signal.aborted ? signal.reason : new ApiError(0, { code: "unreachable" }));
    request.onloadend = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      removeEventListener("offline", abort);
    };
    signal.addEventListener("abort", abort);
    addEventListener("offline", abort); // else it hangs until it has stalled
    request.send(file.slice(offset, offset + PART));
  });
