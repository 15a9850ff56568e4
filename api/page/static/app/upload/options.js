/** What is wanted of the next files: folded away, remembered, and nothing offered that the service would refuse. */

import { recall, remember } from "../core/memory.js";
import { fill, h, icon } from "../core/dom.js";
import { size, span, t } from "../core/words.js";
import { byName, languageName, offer, targets } from "./offer.js";

/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Control */
/** @typedef {{ box: HTMLElement, control: Control, hint: HTMLElement, error: HTMLElement, show: (value: any) => void }} Field */

const COUNTS = ["num_speakers", "min_speakers", "max_speakers"];
/** @type {Record<string, string>} whose fault it is where the service names no field */
const CULPRIT = { unknown_model: "model", task_not_supported: "task" };
/** @type {Record<string, unknown>} */
const PLAIN = { diarize: false, task: "transcribe", channels: "mix", enhance: "none", enhance_for: "all", align: false, priority: "normal" };

const say = (/** @type {string} */ name) => t(/** @type {import("../core/words.js").Key} */ (`option.${name}`));
const option = (/** @type {string} */ value, /** @type {string} */ text) => h("option", { value }, text);

/** @param {AbortSignal} signal */
export function optionsForm(signal) {
  /** @type {Record<string, any>} what differs from the usual */
  let chosen = recall("options", {});
  /** @type {import("./offer.js").Offer | undefined} */
  let offered;
  /** @type {Map<string, Field>} */
  const fields = new Map();
  const body = h("div", { class: "options-body" });
  const summary = h("span", { class: "soft" });
  const element = h("details", { class: "options", ontoggle: () => element.open && load() }, h("summary", {}, icon("settings"), h("b", {}, say("title")), summary), body);

  const value = (/** @type {string} */ name) => chosen[name] ?? offered?.usual[name] ?? PLAIN[name];
  const model = () => offered?.models.find(({ name }) => name === value("model"));

  /** @type {(name: string, wanted: unknown) => void} */
  function choose(name, wanted) {
    delete chosen[name];
    if (wanted !== "" && wanted !== value(name)) chosen[name] = wanted;
    if (name === "language" && wanted === "" && value(name)) chosen[name] = "auto"; // else it would be the service's usual one
    fields.get(name)?.error.replaceChildren();
    refresh();
    remember("options", chosen);
  }

  /** Languages of a translation. */
  const beside = () => (offered ? targets(offered, value("language") ?? "", value("model")) : []);

  function notBeside() {
    if (value("task") === "translate") return say("not_beside");
    return offered && !beside().length ? say("not_written") : "";
  }

  /** Why it cannot be had beside the others. @type {(name: string) => string} */
  function barred(name) {
    const { name: called = "", multilingual = true, translates = true } = model() ?? {};
    if (name === "task" && !translates) return t("option.no_translation", { model: called });
    if (name === "language" && !multilingual) return t("option.english", { model: called });
    if (name === "enhance" && !offered?.denoises) return say("no_denoise");
    if (name === "enhance" && value("channels") === "split") return say("not_split");
    if (name === "translate_to") return notBeside();
    return name === "align" && value("task") === "translate" ? say("not_translated") : "";
  }

  function refresh() {
    if (offered) {
      if (!["auto", "en"].includes(chosen.language) && barred("language")) delete chosen.language;
      if (chosen.language === "yue" && !value("model").includes("large-v3")) delete chosen.language;
      for (const name of ["task", "enhance", "align", "translate_to"]) if (barred(name)) delete chosen[name];
      if (!beside().includes(chosen.translate_to)) delete chosen.translate_to;
      showBeside();
      if (!value("diarize")) for (const name of COUNTS) delete chosen[name];
      if (value("enhance") === "none") delete chosen.enhance_for;
    }
    for (const [name, { box, control, hint, show }] of fields) {
      const why = barred(name);
      show(value(name));
      control.disabled = why !== "";
      hint.textContent = why || (name === "model" ? cost() : say(`${name}_hint`).replace(/^option\..*/, ""));
      box.hidden = (name === "speakers" && !value("diarize")) || (name === "enhance_for" && value("enhance") === "none");
    }
    summary.textContent = Object.keys(chosen).map(said).filter(Boolean).join(" · ") || say("usual");
  }

  /** Only what is possible with this language and model. */
  function showBeside() {
    const control = fields.get("translate_to")?.control;
    const codes = ["", ...byName(beside())];
    if (control instanceof HTMLSelectElement && codes.join() !== [...control.options].map((one) => one.value).join())
      fill(control, codes.map((code) => option(code, code ? languageName(code) : say("no_translate_to"))));
  }

  /** An option in the summary. @param {string} name */
  function said(name) {
    if (COUNTS.includes(name) || name === "enhance_for") return "";
    if (name === "model") return chosen.model;
    if (name === "priority") return say(`priority_${chosen.priority}`);
    if (name === "language") return chosen.language === "auto" ? say("detect") : languageName(chosen.language);
    if (name === "translate_to") return languageName(chosen.translate_to);
    return chosen[name] === PLAIN[name] ? t("option.without", { what: say(name) }) : say(name);
  }

  function cost() {
    const found = offered?.costs.get(value("model"));
    const known = found ? t("option.cost", { n: found.files, time: span((3600 * found.wall) / found.audio) }) : say("no_cost");
    return model()?.installed ? known : `${say("fetched")}. ${known}`;
  }

  /** @type {(name: string, control: Control, show: (value: any) => void, read: () => unknown, beside?: HTMLElement) => HTMLElement | null} */
  function field(name, control, show, read, beside) {
    if (!offered?.options.includes(name === "speakers" ? "num_speakers" : name)) return null;
    const id = `option-${name}`;
    const [hint, error] = [h("span", { class: "hint", id: `${id}-hint` }), h("span", { class: "error", role: "alert", id: `${id}-error` })];
    control.id = id;
    control.setAttribute("aria-describedby", `${hint.id} ${error.id}`);
    const label = h("label", { for: id }, say(name));
    const box = h("div", { class: "field" }, control.type === "checkbox" ? h("div", { class: "check" }, control, label) : [label, h("div", { class: "pair" }, control, beside)], hint, error);
    box.addEventListener("input", () => choose(name, read()));
    fields.set(name, { box, control, hint, error, show });
    return box;
  }

  /** @type {(name: string, choices: HTMLElement[]) => HTMLElement | null} */
  function list(name, choices) {
    const control = h("select", {}, choices);
    return field(name, control, (now) => (control.value = now === "auto" ? "" : (now ?? "")), () => control.value);
  }

  const words = (/** @type {string} */ name, /** @type {string[]} */ values) => list(name, values.map((one) => option(one, say(`${name}_${one}`))));

  /** @type {(name: string, on: unknown, off: unknown) => HTMLElement | null} */
  function check(name, on, off) {
    const control = h("input", { type: "checkbox" });
    return field(name, control, (now) => (control.checked = now === on), () => (control.checked ? on : off));
  }

  /** @type {(name: string, control: HTMLInputElement | HTMLTextAreaElement, read?: (text: string) => unknown) => HTMLElement | null} */
  function text(name, control, read = String) {
    const show = (/** @type {any} */ now) => {
      if (document.activeElement !== control) control.value = Array.isArray(now) ? now.join("\n") : (now ?? "");
    };
    return field(name, control, show, () => read(control.value.trim()));
  }

  function speakers() {
    const control = h("select", {}, ["", ...COUNTS].map((name) => option(name, say(name || "any_speakers"))));
    const count = h("input", { type: "number", min: "1", max: "20", value: "2", "aria-label": say("speakers") });
    const show = () => {
      control.value = COUNTS.find(value) ?? "";
      count.hidden = !control.value;
      if (control.value && document.activeElement !== count) count.value = value(control.value);
    };
    const read = () => {
      for (const name of COUNTS) delete chosen[name];
      if (control.value) chosen[control.value] = Number(count.value) || 2;
      return "";
    };
    return field("speakers", control, show, read, count);
  }

  /** @type {Promise<void> | undefined} */
  let loading;
  const load = () => (loading ??= build());

  async function build() {
    try {
      offered = await offer(signal);
    } catch {
      loading = undefined;
      if (!signal.aborted) fill(body, h("p", { role: "alert" }, say("away"), " ", h("button", { type: "button", class: "button", onclick: load }, t("upload.again"))));
      return;
    }
    const { models, options } = offered;
    for (const name of Object.keys(chosen)) if (!options.includes(name)) delete chosen[name];
    const languages = byName(offered.languages);
    const some = (/** @type {boolean} */ here) =>
      models.filter(({ installed }) => installed === here).map(({ name, bytes, multilingual }) => option(name, [name, bytes && size(bytes), !multilingual && say("english_only")].filter(Boolean).join(" · ")));
    fill(
      body,
      h("div", {},
        list("language", [option("", say("detect")), ...languages.map((code) => option(code, languageName(code)))]),
        list("model", [h("optgroup", { label: say("here") }, some(true)), h("optgroup", { label: say("fetched") }, some(false))]),
        words("priority", ["interactive", "normal", "bulk"])),
      h("div", {},
        check("diarize", true, false),
        speakers(),
        check("task", "translate", "transcribe"),
        list("translate_to", []),
        check("channels", "split", "mix"),
        check("align", true, false),
        check("enhance", "denoise", "none"),
        words("enhance_for", ["all", "speakers", "both"])),
      h("div", {},
        text("vocabulary", h("textarea", { rows: 3 }), (typed) => typed && typed.split(/[\n,]/).map((word) => word.trim()).filter(Boolean)),
        text("prompt", h("textarea", { rows: 3, maxLength: 2000 })),
        text("audio_track", h("input", { type: "text" }))),
      h("button", { type: "button", class: "button", onclick: () => ((chosen = {}), choose("", "")) }, say("reset")),
    );
    refresh();
  }

  refresh();
  return {
    element,
    /** Of a job; the view of a transcript needs the times of words. */
    values: () => ({ ...chosen, word_timestamps: true }),
    /** Shows at its field what was refused. @param {import("../core/api.js").ApiError} error */
    async tell({ code, errors, message }) {
      element.open = true;
      await load();
      for (const one of errors.length ? errors : [{ field: code === "not_available" ? (chosen.enhance ? "enhance" : "translate_to") : (CULPRIT[code] ?? ""), message }]) {
        const name = one.field.split(".").pop() ?? "";
        const found = fields.get(COUNTS.includes(name) ? "speakers" : name);
        found?.error.replaceChildren(one.message);
        found?.control.focus();
      }
    },
  };
}
