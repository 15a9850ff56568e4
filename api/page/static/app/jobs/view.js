/** All jobs, and the place to drop files. */

import { ApiError, follow, url } from "../core/api.js";
import { fill, h, keyed } from "../core/dom.js";
import { features } from "../core/features.js";
import { note, to } from "../core/router.js";
import { named, t } from "../core/words.js";
import { show as showDialog, sure } from "../ui/dialog.js";
import { tell, tellError } from "../ui/toast.js";
import { uploadPanel } from "../upload/panel.js";
import { CAN, act, download, each, reason } from "./actions.js";
import { batchLines } from "./batches.js";
import { Feed, SORTED } from "./feed.js";
import { filters, wanted } from "./filters.js";
import { openMenu } from "./menu.js";
import { row, update } from "./row.js";
import { selection } from "./selection.js";

/** @typedef {import("./feed.js").Job} Job */
/** @typedef {import("./actions.js").Action} Action */
/** @typedef {import("./menu.js").Item} Item */

/** @type {import("../core/router.js").Show} */
export function show(main, _place, signal) {
  let feed = new Feed(wanted(), signal);
  let newest = feed; // being fetched
  /** What events have told since then; null: deleted. @type {Map<string, Job | null>} */
  const heard = new Map();
  /** @type {Set<string>} */
  const picked = new Set();
  let formats = ["txt", "srt", "vtt", "json"];
  let fault = "";
  let soon = 0;
  let again = 0;

  const later = (/** @type {() => void} */ run, /** @type {number} */ seconds) => window.setTimeout(() => signal.aborted || run(), 1000 * seconds);
  const button = (/** @type {string} */ text, /** @type {() => void} */ onclick) => h("button", { type: "button", class: "button more", onclick }, text);

  const list = h("ul", { class: "plain jobs", role: "list", tabIndex: -1, "aria-label": t("place.jobs"), onclick: pressed });
  const away = h("p", { class: "notice", role: "status", hidden: true }, t("jobs.away"));
  const said = h("p", { class: "visually-hidden", role: "status" });
  const state = h("section", { class: "empty", hidden: true });
  const most = h("p", { class: "soft small", hidden: true }, t("jobs.most", { n: SORTED }));
  const more = button(t("jobs.more"), next);
  more.hidden = true;
  const bar = selection(list, picked, known, asked);
  const batches = batchLines(picked, (batch) => (batch && [feed, newest].forEach((one) => one.takeBatch(batch)), draw()), signal);
  main.append(
    h("h1", {}, t("place.jobs")),
    uploadPanel(signal),
    filters(() => refresh(50), signal), away, most, state, list, more, said, bar.bar);

  // begun anew after each page: it tells only of what becomes visible, and a short page may leave the button there
  const end = new IntersectionObserver((seen) => seen.at(-1)?.isIntersecting && next(), { rootMargin: "600px" });
  signal.addEventListener("abort", () => end.disconnect());
  let opened = false;
  follow("events", {
    open: () => (opened && refresh(), (opened = true), isAway(false)),
    lost: () => isAway(true),
    job: take,
    end: ({ id, status }) => {
      const name = (heard.get(id) ?? known(id))?.source.filename;
      if (status === "deleted") drop(id);
      else if (name) said.textContent = `${name}: ${named("status", status)}`;
      if (feed.wanted.q && !again) again = later(() => ((again = 0), refresh()), 3); // so long the index may take
    },
  }, signal);
  features().then((found) => (formats = found.formats), () => {});
  void refresh(50);

  function isAway(/** @type {boolean} */ is) {
    clearTimeout(soon);
    // a stream that a proxy ends is there again at once
    if (is) soon = later(() => (away.hidden = false), 1.5);
    else away.hidden = true;
  }

  /** Asks anew, and shows it when all of it is here. */
  async function refresh(count = Math.min(SORTED, Math.max(50, feed.shown().length))) {
    const fresh = (newest = new Feed(wanted(), signal));
    const { q, status, time, sort } = fresh.wanted;
    heard.clear();
    if (!(await fetched(fresh, sort ? SORTED : count))) return;
    feed = fresh;
    for (const [id, job] of heard) job ? feed.take(job) : feed.drop(id);
    for (const id of batches.open.keys()) batches.look(id, 0), batches.more(id, true).catch(() => batches.open.delete(id));
    draw();
    if (q || status || time) said.textContent = t("jobs.found", { n: feed.shown().length });
  }

  /** Whether it is here, and still wanted. While the service is away it goes on asking. */
  async function fetched(/** @type {Feed} */ asked, /** @type {number} */ count) {
    const stale = () => signal.aborted || asked !== newest;
    list.ariaBusy = "true";
    fault = "";
    for (let wait = 1; !stale(); wait = Math.min(2 * wait, 5)) {
      try {
        await asked.more(count);
        break;
      } catch (error) {
        if (stale()) return false;
        const gone = error instanceof ApiError && (error.status === 0 || error.status > 499 || error.retryAfter);
        if (!gone) fault = reason(error);
        if (!gone) break;
        isAway(true);
        await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || wait)));
      }
    }
    if (stale()) return false;
    list.ariaBusy = null;
    return true;
  }

  async function next() {
    if (!feed.complete && !feed.wanted.sort && !list.ariaBusy && (await fetched(feed, 50))) draw();
  }

  /** @param {string} id @returns {Job | undefined} */
  function known(id) {
    return feed.entries.get(id)?.job ?? [...batches.open.values()].flatMap(({ jobs }) => jobs).find((job) => job.id === id);
  }

  function take(/** @type {Job} */ job) {
    heard.set(job.id, job);
    feed.take(job);
    batches.heard(job);
    draw();
  }

  function drop(/** @type {string} */ id) {
    heard.set(id, null);
    feed.drop(id);
    batches.drop(id);
    picked.delete(id);
    draw();
  }

  let drawn = 0;
  /** Five times a second at most, however much happens. */
  function draw() {
    if (drawn++) return;
    paint();
    later(() => {
      const more = drawn > 1;
      drawn = 0;
      if (more) draw();
    }, 0.2);
  }

  function paint() {
    const entries = feed.shown();
    const { sort } = feed.wanted;
    const inside = list.contains(document.activeElement);
    keyed(list, entries, ({ id }) => id,
      ({ id, job, hit, batch }) => (batch ? batches.line(batch) : row(/** @type {Job} */ (job), picked.has(id), hit)),
      (line, { job, hit, batch }) => (batch ? batches.update(line, batch) : update(line, /** @type {Job} */ (job), hit)));
    if (inside && !list.contains(document.activeElement)) list.focus();
    more.hidden = feed.complete || Boolean(sort || fault);
    most.hidden = !sort || feed.complete;
    end.unobserve(more);
    end.observe(more);
    for (const id of picked) if (!known(id)) picked.delete(id); // only what can be seen is done something with
    state.hidden = entries.length > 0 && !fault;
    if (!state.hidden) fill(state, stateOf());
    bar.draw();
  }

  /** Where there is nothing to show: what to do about it. */
  function stateOf() {
    const { q, status, time } = feed.wanted;
    if (fault) return [h("h2", {}, t("jobs.fault")), h("p", {}, fault), button(t("jobs.retry"), refresh)];
    if (!feed.complete) return [];
    if (!q && !status && !time) return [h("h2", {}, t("jobs.empty")), h("p", {}, t("jobs.empty_how")), h("p", { class: "small" }, t("jobs.empty_safe"))];
    const all = () => (note({ q: "", status: "", time: "", sort: "" }), dispatchEvent(new Event("hashchange")));
    return [h("h2", {}, t("jobs.none")), q && h("p", {}, t("jobs.none_how")), button(t("jobs.show_all"), all)];
  }

  function pressed(/** @type {MouseEvent} */ { target }) {
    const on = target instanceof Element && target.closest("button");
    const id = on && on.closest("li")?.dataset.key;
    if (!on || !id) return;
    const job = known(id);
    const does = on.dataset.do;
    if (does === "fold" && batches.open.delete(id)) draw();
    else if (does === "fold" || does === "items") batches.more(id).catch(tellError);
    else if (does === "batch") openMenu(on, batchMenu(id));
    else if (job && does === "menu") openMenu(on, jobMenu(job));
    else if (job && does === "retry") void asked("retry", [job], on);
  }

  /** @param {string} path @returns {() => Item[]} */
  const files = (path) => () => formats.map((format) => ({ text: format.toUpperCase(), href: url(path, { format }), save: true }));

  /** @param {Job} job */
  function jobMenu(job) {
    const address = to(["jobs", job.id]);
    const run = (/** @type {Action} */ action) => () => asked(action, [job]);
    /** @type {(Item | false)[]} */
    const items = [
      { text: t("jobs.open"), icon: "play", href: address },
      CAN.download(job) && { text: t("jobs.download"), icon: "down", more: files(`jobs/${job.id}/result`) },
      { text: t("jobs.link"), icon: "link", run: () => copy(new URL(address, location.href).href) },
      CAN.retry(job) && { text: t("jobs.retry"), icon: "retry", run: run("retry") },
      CAN.cancel(job) && { text: t("jobs.cancel"), icon: "stop", run: run("cancel") },
      { text: t("jobs.delete"), icon: "remove", run: run("delete") },
    ];
    return items.filter((item) => item !== false);
  }

  /** @param {string} id */
  function batchMenu(id) {
    const { counts, status } = feed.entries.get(id)?.batch ?? {};
    const n = counts?.total ?? 0;
    const run = (/** @type {"retry" | "cancel" | "delete"} */ action) => async () => {
      if (action !== "retry" && !(await sure(t(`jobs.${action}`), t(action === "delete" ? "jobs.delete_sure" : "batch.cancel_sure", { n, name: t("batch.name", { n }) }), t(`jobs.${action}`)))) return;
      await act(action, `batches/${id}`).then((now) => (now ? batches.look(id, 0) : drop(id)), (error) => tell(reason(error), { kind: "error" }));
    };
    /** @type {(Item | false)[]} */
    const items = [
      n > 0 && { text: t("jobs.download"), icon: "down", more: files(`batches/${id}/results.zip`) },
      (counts?.failed ?? 0) > 0 && { text: t("batch.retry"), icon: "retry", run: run("retry") },
      status !== "completed" && { text: t("jobs.cancel"), icon: "stop", run: run("cancel") },
      { text: t("jobs.delete"), icon: "remove", run: run("delete") },
    ];
    return items.filter((item) => item !== false);
  }

  /** Does something with one job or many. @param {Action} action @param {Job[]} jobs @param {HTMLElement} [on] */
  async function asked(action, jobs, on) {
    const n = jobs.length;
    const report = (/** @type {number} */ done) => bar.progress(done / n);
    if (action === "download") return on && openMenu(on, formats.map((format) => ({ text: format.toUpperCase(), run: () => void download(jobs, format, report) })));
    if (action === "delete" && !(await sure(t("jobs.delete"), t("jobs.delete_sure", { n, name: jobs[0].source.filename }), t("jobs.delete")))) return;
    await each(jobs, async ({ id }) => {
      const now = await act(action, `jobs/${id}`).catch((error) => {
        if (error.status === 404) drop(id); // deleted elsewhere
        throw error;
      });
      if (now) take(now);
      else drop(id);
    }, report);
    if (n > 1) bar.clear();
  }
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell(t("jobs.copied"));
  } catch {
    // browsers let only pages of encrypted services write there
    void showDialog(t("jobs.link"), [h("input", { value: text, readOnly: true, "aria-label": t("jobs.link") })], []);
  }
}
