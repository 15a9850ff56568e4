/** One transcript: what is heard, what was understood, and what can be done with it. */

import { ask, follow } from "../core/api.js";
import { fill, h, icon } from "../core/dom.js";
import { features } from "../core/features.js";
import { here } from "../core/router.js";
import { moment, span, t } from "../core/words.js";
import { tellError } from "../ui/toast.js";
import { Along } from "./along.js";
import { copyButton } from "./copy.js";
import { isShown, showDoubt } from "./doubt.js";
import { Download } from "./download.js";
import { showKeys, startKeys } from "./keys.js";
import { SegmentList } from "./list.js";
import { Transcript } from "./model.js";
import { patiently } from "./patience.js";
import { Player } from "./player.js";
import { Progress } from "./progress.js";
import { showGaps } from "./row.js";
import { ended, missing, warningNotes } from "./states.js";

/** @typedef {import("../core/api.js").Schemas["JobBody"]} Job */

/** @type {import("../core/router.js").Show} */
export async function show(main, { path }, signal) {
  /** @type {Job | null} */
  const job = await ask("GET", `jobs/${path[1]}`, { signal }).catch((error) => (fill(main, missing(error)), null));
  if (!job) return;
  document.title = `${job.source.filename} – Parascribe`;
  signal.addEventListener("abort", () => (document.title = "Parascribe"));
  const transcript = new Transcript(job.id);
  const list = new SegmentList(transcript, signal);
  const page = {
    about: h("p", { class: "about" }),
    actions: h("div", { class: "actions" }),
    notes: h("div", { class: "notes" }),
    panel: h("div", { class: "panel" }),
    text: h("div", { class: "text" }, list.element),
  };
  fill(main, h("h1", { dir: "auto" }, job.source.filename), page.about, page.actions, page.notes, page.panel, page.text);
  const view = new View(main, page, list, signal);
  await view.show(job);
}

class View {
  /**
   * @param {HTMLElement} main
   * @param {Record<"about" | "actions" | "notes" | "panel" | "text", HTMLElement>} page
   * @param {SegmentList} list
   * @param {AbortSignal} signal
   */
  constructor(main, page, list, signal) {
    this.main = main;
    this.page = page;
    this.list = list;
    this.transcript = list.transcript;
    this.signal = signal;
    /** @type {HTMLElement | null} */
    this.dock = null;
  }

  /** @param {Job} job */
  async show(job) {
    this.about(job);
    if (job.status === "completed") return this.finished(job);
    if (["failed", "cancelled"].includes(job.status)) {
      this.setDock(null);
      fill(this.page.notes, ended(job));
      // what had been understood before is there to be read
      if (!this.transcript.segments.length) await ask("GET", `jobs/${job.id}/segments`, { signal: this.signal }).then((found) => this.transcript.grow({ from: 0, segments: found.segments }), () => null);
      return;
    }
    this.running(job);
  }

  /** @param {Job} job */
  about(job) {
    const { duration } = job.audio;
    const { language, speakers } = this.transcript;
    const name = language && language !== "und" && new Intl.DisplayNames([document.documentElement.lang], { type: "language" }).of(language);
    const parts = [moment(job.created_at), duration && span(duration), name, job.params.model, speakers && t("transcript.speakers", { n: speakers.length })];
    fill(this.page.about, parts.filter(Boolean).map((part) => h("span", {}, part)), job.partial && h("span", { class: "badge doubt" }, icon("warning"), t("transcript.partial")));
  }

  /** @param {HTMLElement | null} dock */
  setDock(dock) {
    if (this.dock && dock) this.dock.replaceWith(dock);
    else if (dock) this.main.insertBefore(dock, this.page.text); // before ten thousand rows, for who goes by keyboard
    else this.dock?.remove();
    this.dock = dock;
  }

  /** @param {Job} job */
  running(job) {
    const progress = new Progress(job);
    const over = new AbortController();
    this.setDock(progress.element);
    this.transcript.duration = job.audio.duration ?? 0;
    follow(
      `jobs/${job.id}/events`,
      {
        open: () => progress.connection(false),
        lost: () => progress.connection(true),
        job: (/** @type {Job} */ now) => (progress.show(now), this.about(now)),
        segments: (found) => this.transcript.grow(found),
        end: () => {
          over.abort();
          this.again(job.id).catch(tellError);
        },
      },
      AbortSignal.any([over.signal, this.signal]),
    );
  }

  /** @param {string} id of a job that has ended just now */
  async again(id) {
    const { signal } = this;
    try {
      await patiently(async () => this.show(await ask("GET", `jobs/${id}`, { signal })), signal);
    } catch (error) {
      if (!signal.aborted) fill(this.main, missing(error));
    }
  }

  /** @param {Job} job */
  async finished(job) {
    const { page, list, transcript, signal, main } = this;
    if (!this.dock) fill(page.notes, h("p", { class: "empty", role: "status" }, t("transcript.loading")));
    const loading = () => Promise.all([features(), transcript.load(job.revision, signal)]); // by number: all at once
    const loaded = await patiently(loading, signal).catch((error) => void (signal.aborted || fill(main, missing(error))));
    if (!loaded) return;
    const [{ formats }] = loaded;
    const player = new Player({ job, transcript, signal });
    const along = new Along({ transcript, list, player, signal });
    const download = new Download({ transcript, player, formats, signal });
    const tools = h("div", { class: "tools", role: "toolbar", "aria-label": t("transcript.tools") });
    this.about(job);
    fill(page.actions, download.button, copyButton(transcript, player), tools, h("span", { class: "space" }), this.doubtButton(), h("button", { type: "button", class: "icon-button", "aria-label": t("player.keys"), onclick: showKeys }, "?"));
    fill(page.notes, warningNotes(transcript.warnings));
    fill(page.panel, download.element);
    if (player.isVideo) page.panel.before(h("div", { class: "stage" }, player.media));
    if (!transcript.segments.length) {
      const gaps = h("div", { class: "gaps" });
      showGaps(gaps, transcript.gaps);
      page.text.append(h("p", { class: "empty" }, t("transcript.empty")), gaps);
    }
    this.setDock(player.element);
    list.hold();
    list.render();
    startKeys({ transcript, list, player, along, signal });
    this.listen(player);
    const { startEditing } = await import("./editing.js");
    startEditing({ transcript, list, player, tools, job, signal });
  }

  doubtButton() {
    if (!this.transcript.segments.some(({ words }) => words?.length)) return null;
    const button = h("button", { type: "button", class: "button quiet", title: t("transcript.doubt_hint"), onclick: () => toggle(!isShown()) }, h("span", { class: "word unsure" }, t("transcript.doubt")));
    const toggle = (/** @type {boolean} */ on) => (showDoubt(on), (button.ariaPressed = String(on)));
    toggle(isShown());
    return button;
  }

  /** @param {Player} player */
  listen(player) {
    const { list, transcript, signal } = this;
    const pressed = (/** @type {EventTarget | null} */ target) => {
      if (!(target instanceof HTMLElement) || target.closest("[contenteditable]")) return;
      const gap = target.closest("[data-listen]");
      const row = target.closest(".segment");
      const segment = row instanceof HTMLElement ? transcript.segments[list.places.get(row.dataset.key ?? "") ?? -1] : null;
      const word = target.closest(".word");
      if (gap instanceof HTMLElement) player.seek(Number(gap.dataset.listen), { play: true });
      else if (segment && target.closest(".time")) player.seek(segment.start, { play: true });
      else if (segment && word instanceof HTMLElement && String(getSelection()) === "") player.seek(segment.words?.[Number(word.dataset.n)]?.start ?? segment.start, { play: true });
    };
    this.page.text.addEventListener("click", (event) => pressed(event.target));
    const jump = () => {
      const seconds = Number.parseFloat(here().query.get("t") ?? "");
      if (seconds >= 0) player.seek(seconds);
    };
    addEventListener("hashchange", jump, { signal });
    jump();
  }
}
