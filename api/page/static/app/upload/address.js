/** For a file on the web, where the service fetches any. */

import { ApiError, ask } from "../core/api.js";
import { h, icon } from "../core/dom.js";
import { features } from "../core/features.js";
import { t } from "../core/words.js";
import { uploads } from "./uploads.js";

/**
 * A button, and the form that it unfolds.
 * @type {(options: ReturnType<typeof import("./options.js").optionsForm>, signal: AbortSignal) => { button: HTMLElement, form: HTMLElement }}
 */
export function addressForm(options, signal) {
  let key = "";
  const input = h("input", { type: "url", required: true, placeholder: "https:…", "aria-label": t("upload.address"), oninput: () => (key = "") });
  const error = h("p", { class: "error", role: "alert" });
  const submit = h("button", { class: "button main" }, t("upload.fetch"));
  const form = h("form", { class: "upload-address", hidden: true }, input, submit, error);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    key ||= `${Date.now()}-${Math.random()}`; // sent twice it is one job
    submit.disabled = true;
    error.textContent = "";
    try {
      const job = await ask("POST", "jobs", { json: { url: input.value.trim(), ...options.values() }, headers: { "Idempotency-Key": key }, signal });
      input.value = "";
      uploads.dispatchEvent(new CustomEvent("job", { detail: job.id }));
    } catch (problem) {
      if (!(problem instanceof ApiError)) return;
      const own = problem.errors.every(({ field }) => field === "url") && ["validation", "url_refused"].includes(problem.code);
      error.textContent = problem.message;
      if (!own && problem.status === 422) void options.tell(problem);
    } finally {
      submit.disabled = false;
    }
  });
  const button = h("button", { type: "button", class: "button quiet", hidden: true, "aria-expanded": "false" }, icon("link"), t("upload.address"));
  button.addEventListener("click", () => {
    form.hidden = !form.hidden;
    button.setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) input.focus();
  });
  features().then(({ sources }) => (button.hidden = !sources.includes("url")), () => {}); // away: files can wait, an address cannot
  return { button, form };
}
