/** A job that runs, where its player will be: how far it is, and for how much longer. */

import { send } from "../core/api.js";
import { h } from "../core/dom.js";
import { named, percentage, span, t } from "../core/words.js";
import { tellError } from "../ui/toast.js";

/** @typedef {import("../core/api.js").Schemas["JobBody"]} Job */

export class Progress {
  /** @param {Job} job */
  constructor(job) {
    this.stage = h("strong", { role: "status" });
    this.numbers = h("span", { class: "soft numbers" });
    this.bar = h("progress", { max: 100, "aria-label": t("transcript.progress") });
    this.cancel = h("button", { type: "button", class: "button", onclick: () => send("POST", `jobs/${job.id}/cancel`).then(() => (this.cancel.disabled = true), tellError) }, t("transcript.cancel"));
    this.element = h("section", { class: "dock progress", "aria-label": t("transcript.progress") }, h("div", { class: "row" }, this.stage, this.numbers, this.cancel), this.bar);
    this.lost = false;
    this.show(job);
  }

  /** @param {Job} job */
  show(job) {
    this.job = job;
    const { stage, percent, eta_seconds: left } = job.progress;
    const text = this.lost ? t("transcript.lost") : job.status === "cancelling" ? named("status", job.status) : named("stage", stage);
    if (this.stage.textContent !== text) this.stage.textContent = text;
    this.numbers.textContent = [percentage(percent), left && t("transcript.left", { time: span(left) })].filter(Boolean).join(" · ");
    this.bar.value = percent;
  }

  /** @param {boolean} lost whether the service is away */
  connection(lost) {
    this.lost = lost;
    if (this.job) this.show(this.job);
  }
}
