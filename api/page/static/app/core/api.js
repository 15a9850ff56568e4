/** Requests to the public API, and nothing else: whatever this page does, a program can do. */

/** @typedef {import("../../../types/api.js").components["schemas"]} Schemas */

/** Ends with a slash; below whatever path a proxy serves us. */
export const BASE = new URL("api/v1/", document.baseURI).href;

/** What the service refused, or the network did (status 0, code `unreachable`). */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {Partial<Schemas["Problem"]>} problem
   * @param {number} [retryAfter] seconds
   */
  constructor(status, problem, retryAfter = 0) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.code = problem.code ?? "unknown";
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

/**
 * Tells `login` when a key is needed: the session has ended, or there was none. Who prevents it and puts a promise into
 * `detail.again` has the request wait, and sent once more if that comes to be true: so nothing is lost with a session.
 */
export const session = new EventTarget();

/**
 * @typedef {object} Request
 * @property {Record<string, string | number | boolean | null | undefined>} [query] null and undefined are left out
 * @property {unknown} [json]
 * @property {BodyInit} [body]
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 * @property {boolean} [keepalive] goes on when the page is gone; at most 64 kB
 */

/**
 * @param {string} path below `/api/v1/`, without a slash in front
 * @param {Request["query"]} [query]
 */
export function url(path, query = {}) {
  const made = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") made.searchParams.set(name, String(value));
  }
  return made.href;
}

/**
 * The answer, whose body nobody has read yet. Throws ApiError for all but 2xx, and AbortError.
 * @param {string} method
 * @param {string} path
 * @param {Request} [request]
 */
export async function send(method, path, { query, json, body, headers = {}, signal, keepalive } = {}) {
  const given = json === undefined ? headers : { "Content-Type": "application/json", ...headers };
  let answer;
  try {
    answer = await fetch(url(path, query), { method, headers: given, body: json === undefined ? body : JSON.stringify(json), signal, keepalive });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, { code: "unreachable", detail: String(error) });
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401 && !headers.Authorization) {
    const asked = new CustomEvent("login", { cancelable: true, detail: { again: Promise.resolve(false) } });
    if (!session.dispatchEvent(asked) && (await asked.detail.again)) return send(method, path, { query, json, body, headers, signal });
  }
  throw new ApiError(answer.status, problem, Number(answer.headers.get("Retry-After") ?? 0));
}

/**
 * The JSON of an answer; null where it has no body.
 * @param {string} method
 * @param {string} path
 * @param {Request} [request]
 * @returns {Promise<any>}
 */
export async function ask(method, path, request) {
  const answer = await send(method, path, request);
  return answer.status === 204 ? null : answer.json();
}

/**
 * Follows server-sent events while the page can be seen: a browser has few connections to one service, and hidden tabs
 * would take them all. When it is seen again a new stream begins, with all of a job's segments from the first; `open` is
 * told each time, for who has to ask what happened meanwhile.
 * @param {string} path
 * @param {Record<string, (data: any) => void>} on by name of the event; `lost` and `open` of the connection
 * @param {AbortSignal} signal ends it
 */
export function follow(path, on, signal) {
  /** @type {EventSource | null} */
  let source = null;
  let wait = 1;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const stop = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
  const start = () => {
    stop();
    if (signal.aborted || document.hidden) return;
    const made = (source = new EventSource(url(path)));
    made.onopen = () => {
      wait = 1;
      on.open?.(null);
    };
    made.onerror = () => {
      on.lost?.(null);
      if (made.readyState !== EventSource.CLOSED) return; // it tries again by itself
      // it does not say why: a session that has ended would tell here
      send("GET", "session", { signal }).catch(() => null).finally(() => (timer = setTimeout(start, 1000 * wait)));
      wait = Math.min(2 * wait, 15);
    };
    for (const [name, tell] of Object.entries(on)) {
      made.addEventListener(name, (event) => event instanceof MessageEvent && tell(JSON.parse(event.data)));
    }
  };
  document.addEventListener("visibilitychange", start, { signal });
  signal.addEventListener("abort", stop);
  start();
}
