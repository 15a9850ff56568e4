/** All jobs, and the place to drop files. */

import { ApiError, ask, follow } from "../core/api.js";
import { fill, h, icon, keyed } from "../core/dom.js";
import { note, to } from "../core/router.js";
import { named, t } from "../core/words.js";
import { show as showDialog, sure } from "../ui/dialog.js";
import { tell, tellError } from "../ui/toast.js";
import { CAN, act, download, each, patiently, reason, resultUrl } from "./actions.js";
import { Batches, zipUrl } from "./batches.js";
import { Feed, SORTED } from "./feed.js";
import { filters, wanted } from "./filters.js";
import { openMenu } from "./menu.js";
import { row, update } from "./row.js";
import { Selection } from "./selection.js";

/** @typedef {import("./feed.js").Job} Job */
/** @typedef {import("./feed.js").Batch} Batch */
/** @typedef {import("./actions.js").Action} Action */

/** @type {import("../core/router.js").Show} */
export function show(main, _place, signal) {
  new List(main, signal).begin();
}

class List {
  /**
   * @param {HTMLElement} main
   * @param {AbortSignal} signal
   */
  constructor(main, signal) {
    this.signal = signal;
    this.feed = this.wanted = new Feed(wanted(), signal);
    /** as events have told since the list was asked for @type {Map<string, Job | null>} */
    this.heard = new Map();
    /** @type {string[]} */
    this.formats = ["txt", "srt", "vtt", "json"];
    this.drawn = 0;
    this.fault = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.awaySoon = undefined;
    this.watchMore = () => {};
    /** @type {ReturnType<typeof setTimeout>[]} */
    this.timers = [];

    this.list = h("ul", { class: "plain jobs", role: "list", tabIndex: -1, "aria-label": t("place.jobs"), onclick: (/** @type {MouseEvent} */ event) => this.pressed(event) });
    this.away = h("p", { class: "notice", role: "status", hidden: true }, t("jobs.away"));
    this.said = h("p", { class: "visually-hidden", role: "status" });
    this.state = h("section", { class: "empty" });
    this.most = h("p", { class: "soft small", hidden: true }, t("jobs.most", { n: SORTED }));
    this.more = h("button", { type: "button", class: "button quiet more", hidden: true, onclick: () => this.next() }, t("jobs.more"));
    this.selection = new Selection(this.list, (id) => this.known(id), (action, jobs, button) => this.asked(action, jobs, button));
    this.batches = new Batches(signal, this.selection.ids);
    main.append(
      h("h1", {}, t("place.jobs")),
      // HERE: uploadPanel(signal) of ../upload/panel.js
      filters(() => this.refresh(50), signal),
      this.away, this.most, this.state, this.list, this.more, this.said, this.selection.bar,
    );
  }

  begin() {
    this.batches.addEventListener("batch", (/** @type {any} */ { detail }) => {
      for (const feed of [this.feed, this.wanted]) feed.takeBatch(detail);
      this.draw();
    });
    this.batches.addEventListener("jobs", () => this.draw());
    // again each time: it tells only of what becomes visible, and a short page may leave the button where it is
    const seen = new IntersectionObserver(([one]) => one.isIntersecting && this.next(), { rootMargin: "600px" });
    this.watchMore = () => (seen.unobserve(this.more), seen.observe(this.more));
    this.signal.addEventListener("abort", () => (seen.disconnect(), this.timers.forEach(clearTimeout)));
    let opened = false;
    follow("events", {
      open: () => {
        if (opened) void this.refresh();
        opened = true;
        this.isAway(false);
      },
      lost: () => this.isAway(true),
      job: (job) => this.take(job),
      end: ({ id, status }) => this.ended(id, status),
    }, this.signal);
    void patiently(() => ask("GET", "features", { signal: this.signal })).then(({ formats }) => (this.formats = formats), () => {});
    void this.refresh(50);
  }

  /** @param {() => void} run @param {number} seconds */
  later(run, seconds) {
    this.timers.push(setTimeout(() => this.signal.aborted || run(), 1000 * seconds));
  }

  /** @param {boolean} away */
  isAway(away) {
    clearTimeout(this.awaySoon);
    // a stream that a proxy ends is there again at once
    if (away) this.awaySoon = setTimeout(() => (this.away.hidden = this.signal.aborted), 1500);
    else this.away.hidden = true;
  }

  /**
   * Asks anew, and shows it when all of it is here.
   * @param {number} [count]
   */
  async refresh(count = Math.min(SORTED, Math.max(50, this.feed.shown().length))) {
    const fresh = (this.wanted = new Feed(wanted(), this.signal));
    this.heard.clear();
    this.list.ariaBusy = "true";
    if (!(await this.fetch(fresh, fresh.wanted.sort ? SORTED : count))) return;
    const asked = fresh.wanted.q || fresh.wanted.status || fresh.wanted.time;
    this.feed = fresh;
    for (const [id, job] of this.heard) job ? fresh.take(job) : fresh.drop(id);
    this.batches.refresh();
    this.draw();
    if (asked) this.said.textContent = t("jobs.found", { n: fresh.shown().length });
  }

  /**
   * Whether it is here, and still wanted. While the service is away it goes on asking.
   * @param {Feed} feed
   * @param {number} count
   */
  async fetch(feed, count) {
    for (let wait = 1; ; wait = Math.min(2 * wait, 5)) {
      try {
        await feed.more(count);
      } catch (error) {
        if (this.signal.aborted || feed !== this.wanted) return false;
        if (error instanceof ApiError && (error.status === 0 || error.status > 499 || error.retryAfter)) {
          this.isAway(true);
          await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || wait)));
          if (!this.signal.aborted && feed === this.wanted) continue;
          return false;
        }
        this.fault = reason(error);
      }
      if (this.signal.aborted || feed !== this.wanted) return false;
      this.list.ariaBusy = null;
      return true;
    }
  }

  async next() {
    const { feed } = this;
    if (feed !== this.wanted || feed.complete || feed.wanted.sort || this.list.ariaBusy) return;
    this.list.ariaBusy = "true";
    if (await this.fetch(feed, 50)) this.draw();
  }

  /** @param {string} id @returns {Job | undefined} */
  known(id) {
    const found = this.feed.entries.get(id)?.job;
    if (found) return found;
    for (const { jobs } of this.batches.open.values()) for (const job of jobs) if (job.id === id) return job;
    return undefined;
  }

  /** @param {Job} job */
  take(job) {
    this.heard.set(job.id, job);
    this.feed.take(job);
    this.batches.heard(job);
    this.draw();
  }

  /** @param {string} id */
  drop(id) {
    this.heard.set(id, null);
    this.feed.drop(id);
    this.batches.drop(id);
    this.selection.ids.delete(id);
    this.draw();
  }

  /** @param {string} id @param {string} status */
  ended(id, status) {
    const name = this.known(id)?.source.filename;
    if (status === "deleted") this.drop(id);
    else if (name) this.said.textContent = `${name}: ${named("status", status)}`;
    if (this.feed.wanted.q) this.later(() => this.refresh(), 3); // so long the index may take
  }

  /** Five times a second at most, however much happens. */
  draw() {
    if (this.drawn) return void (this.drawn = 2);
    this.drawn = 1;
    this.paint();
    this.later(() => {
      const again = this.drawn === 2;
      this.drawn = 0;
    this.fault = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.awaySoon = undefined;
    this.watchMore = () => {};
      if (again) this.draw();
    }, 0.2);
  }

  paint() {
    const { feed, list, batches, selection } = this;
    const entries = feed.shown();
    const inside = list.contains(document.activeElement);
    keyed(list, entries, (entry) => entry.id,
      ({ id, job, hit, batch }) => (job ? row(job, hit, selection.ids.has(id)) : batches.line(/** @type {Batch} */ (batch))),
      (line, { job, hit, batch }) => (job ? update(line, job, hit) : batch && batches.update(line, batch)));
    if (inside && !list.contains(document.activeElement)) list.focus();
    const sorted = Boolean(feed.wanted.sort);
    this.more.hidden = feed.complete || sorted || Boolean(this.fault);
    this.most.hidden = !sorted || feed.complete;
    this.watchMore();
    this.state.hidden = entries.length > 0 && !this.fault;
    if (!this.state.hidden) fill(this.state, this.stateOf());
    selection.draw();
  }

  /** Where there is nothing to show: what to do about it. */
  stateOf() {
    const { fault } = this;
    this.fault = "";
    const { q, status, time } = this.feed.wanted;
    if (fault) return [h("h2", {}, t("jobs.fault")), h("p", {}, fault), h("button", { type: "button", class: "button", onclick: () => this.refresh() }, icon("retry"), t("jobs.retry"))];
    if (!this.feed.complete) return [];
    if (!q && !status && !time) return [h("h2", {}, t("jobs.empty")), h("p", {}, t("jobs.empty_how")), h("p", { class: "small" }, t("jobs.empty_safe"))];
    const all = () => (note({ q: null, status: null, time: null, sort: null }), dispatchEvent(new Event("hashchange")));
    return [h("h2", {}, t("jobs.none")), h("p", {}, t(q ? "jobs.none_said" : "jobs.none_so")), h("button", { type: "button", class: "button", onclick: all }, t("jobs.show_all"))];
  }

  /** @param {MouseEvent} event */
  pressed({ target }) {
    const button = target instanceof Element && target.closest("button");
    const line = button && button.closest("li");
    if (!button || !line || !line.dataset.key) return;
    const id = line.dataset.key;
    const job = this.known(id);
    if (button.dataset.do === "fold" && this.batches.open.delete(id)) this.draw();
    else if (button.dataset.do === "fold" || button.dataset.do === "items") this.batches.more(id).catch(tellError);
    else if (button.dataset.do === "batch") openMenu(button, this.batchMenu(id));
    else if (button.dataset.do === "menu" && job) openMenu(button, this.menu(job));
    else if (button.dataset.do === "retry" && job) this.asked("retry", [job], button);
  }

  /** @param {(format: string) => string | (() => void)} chosen address, or what to do @returns {import("./menu.js").Item[]} */
  formatItems(chosen) {
    return this.formats.map((format) => {
      const it = chosen(format);
      return { text: format.toUpperCase(), ...(typeof it === "string" ? { href: it, save: true } : { run: it }) };
    });
  }

  /** @param {Job} job @returns {import("./menu.js").Item[]} */
  menu(job) {
    const address = to(["jobs", job.id]);
    const one = (/** @type {Action} */ action, /** @type {any} */ name) => (CAN[action](job) ? [{ text: t(`jobs.${action}`), icon: name, run: () => this.asked(action, [job]) }] : []);
    return [
      { text: t("jobs.open"), icon: "play", href: address },
      ...(CAN.download(job) ? [{ text: t("jobs.download"), icon: /** @type {const} */ ("down"), more: () => this.formatItems((format) => resultUrl(job.id, format)) }] : []),
      { text: t("jobs.link"), icon: "link", run: () => copy(new URL(address, location.href).href) },
      ...one("retry", "retry"),
      ...one("cancel", "stop"),
      ...one("delete", "remove"),
    ];
  }

  /** @param {string} id @returns {import("./menu.js").Item[]} */
  batchMenu(id) {
    const { counts, status } = /** @type {Batch} */ (this.feed.entries.get(id)?.batch);
    const act_ = (/** @type {"retry" | "cancel" | "delete"} */ action) => async () => {
      if (action !== "retry" && !(await sure(t(`jobs.${action}`), t(action === "delete" ? "jobs.delete_sure" : "batch.cancel_sure", { n: counts?.total ?? 0, name: t("batch.name", { n: 1 }) }), t(`jobs.${action}`)))) return;
      try {
        if ((await act(action, `batches/${id}`)) === null) this.drop(id);
        else this.batches.ask(id, 0);
      } catch (error) {
        tell(reason(error), { kind: "error" });
      }
    };
    return [
      ...(counts?.completed ? [{ text: t("jobs.download"), icon: /** @type {const} */ ("down"), more: () => this.formatItems((format) => zipUrl(id, format)) }] : []),
      ...(counts?.failed ? [{ text: t("batch.retry"), icon: /** @type {const} */ ("retry"), run: act_("retry") }] : []),
      ...(status !== "completed" ? [{ text: t("jobs.cancel"), icon: /** @type {const} */ ("stop"), run: act_("cancel") }] : []),
      { text: t("jobs.delete"), icon: "remove", run: act_("delete") },
    ];
  }

  /**
   * Does something with one job or many.
   * @param {Action} action
   * @param {Job[]} jobs
   * @param {HTMLElement} [button]
   */
  async asked(action, jobs, button) {
    const n = jobs.length;
    const name = jobs[0].source.filename;
    const report = (/** @type {number} */ done) => this.selection.progress(t(`jobs.${action}`), done, n);
    if (action === "download") return button && openMenu(button, this.formatItems((format) => () => void download(jobs, format, report)));
    if (action === "delete" && !(await sure(t("jobs.delete"), t("jobs.delete_sure", { n, name }), t("jobs.delete")))) return;
    await each(jobs, async (job) => {
      const now = await act(action, `jobs/${job.id}`);
      if (now === null) this.drop(job.id);
      else this.take(now);
    }, report);
    if (n > 1 && action !== "delete") this.selection.clear();
  }
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    tell(t("jobs.copied"));
  } catch {
    // only pages of an encrypted service may write there
    void showDialog(t("jobs.link"), [h("input", { value: text, readOnly: true, "aria-label": t("jobs.link"), onfocus: (/** @type {any} */ event) => event.target.select() })], []);
  }
}
