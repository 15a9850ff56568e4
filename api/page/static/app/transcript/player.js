/** What is heard: plays the recording, and knows how far it is. */

import { ApiError, send, url } from "../core/api.js";
import { fill, h, icon } from "../core/dom.js";
import { recall, remember } from "../core/memory.js";
import { clock, number, t } from "../core/words.js";
import { patiently, pause } from "./patience.js";
import { Wave } from "./wave.js";

const RATES = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3];
export const STEP = 5;

/**
 * Events: `time` (with each frame while it plays), `seek` (somebody jumped), `state` (plays, stands, can be heard or not).
 * `state`: waiting (it is being made), coming (it is heard while it is made, and cannot be jumped in), ready, gone.
 */
export class Player extends EventTarget {
  /**
   * @param {{ job: import("../core/api.js").Schemas["JobBody"], transcript: import("./model.js").Transcript, signal: AbortSignal }} what
   */
  constructor({ job, transcript, signal }) {
    super();
    this.path = `jobs/${job.id}/audio`;
    this.signal = signal;
    this.duration = transcript.duration || job.audio.duration || 0;
    /** @type {"waiting" | "coming" | "ready" | "gone"} */
    this.state = "waiting";
    /** @type {number | null} where to go once one can */
    this.wanted = null;
    /** whether it is to play as soon as it can */
    this.starts = false;
    this.tries = 0;
    const type = job.source.media_type ?? "";
    const video = h("video", { playsInline: true, preload: "metadata" });
    // another sound track than the default one is only in what was made of it
    this.isVideo = type.startsWith("video/") && job.params.audio_track === null && video.canPlayType(type) !== "";
    /** @type {HTMLMediaElement} */
    this.media = this.isVideo ? video : h("audio", { preload: "metadata" });
    this.listen();

    this.note = h("span", { class: "note small soft", role: "status" });
    this.clock = h("span", { class: "clock numbers" });
    this.button = h("button", { type: "button", class: "play", onclick: () => this.toggle() });
    const step = (/** @type {number} */ by) =>
      h("button", { type: "button", class: "icon-button step numbers", "aria-label": t(by < 0 ? "player.back" : "player.on", { n: STEP }), onclick: () => this.seek(this.time + by) }, by < 0 ? `−${STEP}` : `+${STEP}`);
    this.speed = h(
      "select",
      { "aria-label": t("player.speed"), onchange: () => (this.rate = Number(this.speed.value)) },
      RATES.map((rate) => h("option", { value: String(rate) }, `${number(rate, { maximumFractionDigits: 2 })} ×`)),
    );
    const volume = h("input", { type: "range", class: "volume", min: "0", max: "1", step: "0.05", "aria-label": t("player.volume"), oninput: () => remember("volume", (this.media.volume = Number(volume.value))) });
    volume.value = String((this.media.volume = recall("volume", 1)));
    this.rate = recall("rate", 1);
    this.wave = new Wave(this, transcript, job.id, signal);
    /** Room for what goes along: the way back to the spoken word. */
    this.extra = h("span", { class: "extra" });
    this.element = h(
      "section",
      { class: "dock", "aria-label": t("player.title") },
      this.wave.element,
      h("div", { class: "controls" }, step(-STEP), this.button, step(STEP), this.clock, this.note, this.extra, volume, this.speed, !this.isVideo && this.media),
    );
    this.show();
    signal.addEventListener("abort", () => {
      this.media.pause();
      this.media.removeAttribute("src");
      this.media.load();
    });
    void this.prepare();
  }

  get time() {
    return this.wanted ?? this.media.currentTime;
  }

  get playing() {
    return this.starts || !this.media.paused;
  }

  get rate() {
    return this.media.defaultPlaybackRate;
  }

  set rate(rate) {
    // a new source begins at the default
    this.media.defaultPlaybackRate = this.media.playbackRate = rate;
    this.media.preservesPitch = true;
    this.speed.value = String(rate);
    remember("rate", rate);
  }

  /** @param {1 | -1} step to the next speed there is */
  faster(step) {
    const place = RATES.findIndex((rate) => rate >= this.rate);
    this.rate = RATES[Math.min(RATES.length - 1, Math.max(0, place + step))];
  }

  /**
   * @param {number} seconds
   * @param {{ play?: boolean }} [how]
   */
  seek(seconds, { play = false } = {}) {
    const to = Math.max(0, Math.min(seconds, this.duration || seconds));
    if (this.state === "ready" && this.media.readyState > 0) this.media.currentTime = to;
    else {
      // what comes as it is made cannot be jumped in: it goes on there once it is whole
      this.wanted = to;
      if (this.state !== "ready") {
        this.starts = this.playing;
        this.media.pause();
      }
    }
    if (play && !this.playing) this.toggle();
    this.dispatchEvent(new Event("seek"));
    this.tell("time");
  }

  toggle() {
    if (this.state === "gone") return;
    if (this.playing) {
      this.starts = false;
      this.media.pause();
      return this.tell("state");
    }
    if (this.state !== "ready" && this.wanted !== null) {
      this.starts = true;
      return this.tell("state");
    }
    if (this.state === "waiting") {
      // from the beginning, as it comes
      this.media.src = this.source("opus");
      this.become("coming");
    }
    // refused, or interrupted by a new source: the buttons say how it stands
    this.media.play().catch(() => this.tell("state"));
  }

  /** @param {"opus" | "source"} format */
  source(format) {
    return url(this.path, { format });
  }

  listen() {
    const { media } = this;
    const frame = () => {
      this.tell("time");
      if (!media.paused) requestAnimationFrame(frame);
    };
    media.addEventListener("play", frame);
    for (const name of ["timeupdate", "seeked"]) media.addEventListener(name, () => this.tell("time"));
    for (const name of ["play", "pause", "ended"]) media.addEventListener(name, () => this.tell("state"));
    media.addEventListener("loadedmetadata", () => {
      this.tries = 0;
      if (this.state !== "ready" || this.wanted === null) return;
      media.currentTime = this.wanted;
      this.wanted = null;
    });
    media.addEventListener("error", () => {
      if (!media.hasAttribute("src")) return;
      if (this.isVideo) {
        // it promised more than it can: without pictures, then
        this.isVideo = false;
        media.closest(".stage")?.remove();
      } else if (media.error?.code === MediaError.MEDIA_ERR_DECODE || this.tries++ > 4) return this.become("gone", t("player.unplayable"));
      this.wanted = this.time;
      const was = this.state;
      this.become("waiting");
      if (was === "ready") void this.prepare(); // else it is at it
    });
  }

  /** @param {Blob} vtt over the picture, as they would be in a file */
  subtitles(vtt) {
    const [track] = this.media.children;
    if (track instanceof HTMLTrackElement) URL.revokeObjectURL(track.src);
    const made = h("track", { kind: "subtitles", label: "vtt", default: true, src: URL.createObjectURL(vtt) });
    this.media.replaceChildren(made);
    made.track.mode = "showing";
  }

  /** Until all of it is there: only then can one jump. */
  async prepare() {
    if (this.isVideo) return this.attach("source");
    const query = { format: "opus" };
    const headers = { Range: "bytes=0-0" };
    try {
      while (!this.signal.aborted) {
        const answer = await patiently(() => send("GET", this.path, { query, headers, signal: this.signal }), this.signal);
        void answer.body?.cancel();
        if (answer.status === 206) return this.attach("opus");
        await pause(1);
      }
    } catch (error) {
      if (error instanceof ApiError) this.become("gone", error.status === 410 || error.code === "source_missing" ? t("player.expired") : error.message);
    }
  }

  /** @param {"opus" | "source"} format */
  attach(format) {
    const { playing } = this;
    this.starts = false;
    if (this.state === "coming") this.wanted ??= this.media.currentTime;
    this.state = "ready";
    this.media.src = this.source(format);
    if (playing) void this.media.play().catch(() => this.tell("state"));
    this.tell("state");
  }

  /**
   * @param {Player["state"]} state
   * @param {string} [why]
   */
  become(state, why = "") {
    this.state = state;
    this.why = why;
    this.tell("state");
  }

  /** @param {"time" | "state"} what */
  tell(what) {
    this.show();
    this.dispatchEvent(new Event(what));
  }

  show() {
    if (!this.element) return;
    const { playing } = this;
    this.clock.textContent = `${clock(this.time)} / ${clock(this.duration)}`;
    this.wave.move(this.time);
    if (this.button.dataset.on !== String(playing)) {
      this.button.dataset.on = String(playing);
      this.button.ariaLabel = t(playing ? "player.pause" : "player.play");
      fill(this.button, icon(playing ? "pause" : "play"));
    }
    this.button.disabled = this.state === "gone";
    const note = this.state === "gone" ? (this.why ?? "") : this.state === "ready" ? "" : t(this.state === "coming" ? "player.coming" : "player.waiting");
    if (this.note.textContent !== note) this.note.textContent = note;
  }
}
