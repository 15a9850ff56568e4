/** What is wanted of the next files: folded away, remembered, and nothing offered that the service would refuse. */

import { recall, remember } from "../core/memory.js";
import { fill, h, icon } from "../core/dom.js";
import { chosenLanguage, size, span, t } from "../core/words.js";
import { offer } from "./models.js";

/** @typedef {import("./models.js").Offer} Offer */
/** @typedef {{ box: HTMLElement, control: HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement, hint: HTMLElement, error: HTMLElement, show: (value: any) => void }} Field */

// those that Whisper knows, by its own ids; jw is its name for Javanese
const LANGUAGES =
  "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue".split(" ");
const COUNTS = ["num_speakers", "min_speakers", "max_speakers"];
const FIELD_OF = { unknown_model: "model", task_not_supported: "task", not_available: "enhance" };
/** @type {Record<string, unknown>} */
const PLAIN = { diarize: false, task: "transcribe", channels: "mix", enhance: "none", enhance_for: "all", align: false, priority: "normal" };

/** @param {string} code */
export const languageName = (code) => new Intl.DisplayNames(chosenLanguage(), { type: "language" }).of(code === "jw" ? "jv" : code) ?? code;

/** @param {AbortSignal} signal */
export function optionsForm(signal) {
  /** @type {Record<string, any>} what differs from the usual */
  let chosen = recall("options", {});
  /** @type {Offer | null} */
  let offered = null;
  /** @type {Map<string, Field>} */
  const fields = new Map();
  const body = h("div", { class: "options-body" });
  const summary = h("span", { class: "soft" });
  const details = h("details", { class: "options", ontoggle: () => details.open && !offered && load() }, h("summary", {}, icon("settings"), h("b", {}, t("option.title")), summary), body);

  /** @param {string} name */
  const value = (name) => chosen[name] ?? offered?.usual[name] ?? PLAIN[name];
  const model = () => offered?.models.find(({ name }) => name === value("model"));

  /** @param {string} name @param {unknown} wanted */
  function choose(name, wanted) {
    delete chosen[name];
    if (wanted !== "" && wanted !== value(name)) chosen[name] = wanted;
    else if (name === "language" && wanted === "" && value(name)) chosen[name] = "auto";
    fields.get(name)?.error.replaceChildren();
    refresh();
    remember("options", chosen);
  }

  /** Why an option cannot be had beside the others. @param {string} name */
  function barred(name) {
    const { name: called = "", multilingual = true, translates = true } = model() ?? {};
    if (name === "task" && !translates) return t("option.no_translation", { model: called });
    if (name === "language" && !multilingual) return t("option.english", { model: called });
    if (name === "enhance" && !offered?.denoises) return t("option.no_denoise");
    if (name === "enhance" && value("channels") === "split") return t("option.not_split");
    return name === "align" && value("task") === "translate" ? t("option.not_translated") : "";
  }

  /** @param {string} code @returns {boolean} */
  const isKnown = (code) => ["", "auto", "en"].includes(code) || ((model()?.multilingual ?? true) && (code !== "yue" || String(value("model")).includes("large-v3")));

  function refresh() {
    if (offered) {
      if (!isKnown(chosen.language ?? "")) delete chosen.language;
      for (const name of ["task", "enhance", "align"]) if (barred(name)) delete chosen[name];
      if (!value("diarize")) for (const name of COUNTS) delete chosen[name];
      if (value("enhance") === "none") delete chosen.enhance_for;
    }
    for (const [name, { box, control, hint, show }] of fields) {
      const why = barred(name);
      show(value(name));
      control.disabled = name !== "language" && why !== "";
      hint.textContent = why || hints(name);
      box.hidden = (name === "speakers" && !value("diarize")) || (name === "enhance_for" && value("enhance") === "none");
    }
    const shown = Object.keys(chosen).filter((name) => !COUNTS.includes(name) && name !== "enhance_for");
    const said = shown.map((name) => {
      const label = t(/** @type {any} */ (`option.${name}`));
      if (name === "model") return chosen.model;
      if (name === "priority") return t(/** @type {any} */ (`option.priority_${chosen.priority}`));
      if (name === "language" && chosen.language !== "auto") return languageName(chosen.language);
      return name in PLAIN && chosen[name] === PLAIN[name] ? t("option.without", { what: label }) : label;
    });
    summary.textContent = said.join(" · ") || t("option.usual");
  }

  /** @param {string} name */
  function hints(name) {
    if (name === "model") {
      const cost = offered?.costs.get(String(value("model")));
      const known = cost ? t("option.cost", { n: cost.files, time: span(3600 * cost.factor) }) : t("option.no_cost");
      return model()?.installed === false ? `${t("option.fetched_hint")} ${known}` : known;
    }
    const key = `option.${name}_hint`;
    const text = t(/** @type {any} */ (key));
    return text === key ? "" : text;
  }

  /**
   * @type {(name: string, control: Field["control"], show: (value: any) => void, read: () => unknown, ...more: HTMLElement[]) => HTMLElement | null}
   */
  function field(name, control, show, read, ...more) {
    if (!offered?.options.includes(name === "speakers" ? "num_speakers" : name)) return null;
    const id = `option-${name}`;
    const [hint, error] = [h("span", { class: "hint", id: `${id}-hint` }), h("span", { class: "error", role: "alert", id: `${id}-error` })];
    Object.assign(control, { id });
    control.setAttribute("aria-describedby", `${hint.id} ${error.id}`);
    control.addEventListener("input", () => choose(name, read()));
    const label = h("label", { for: id }, t(/** @type {any} */ (`option.${name}`)));
    const isCheck = control.type === "checkbox";
    const box = h("div", { class: "field" }, isCheck ? h("span", { class: "check" }, control, label) : [label, h("div", { class: "pair" }, control, ...more)], hint, error);
    fields.set(name, { box, control, hint, error, show });
    return box;
  }

  /** @param {string} name @param {HTMLElement[]} choices */
  function list(name, choices) {
    const control = h("select", {}, choices);
    return field(name, control, (now) => (control.value = now === "auto" ? "" : (now ?? "")), () => control.value);
  }

  /** @param {string} name @param {unknown} [on] @param {unknown} [off] */
  function check(name, on = true, off = false) {
    const control = h("input", { type: "checkbox" });
    return field(name, control, (now) => (control.checked = now === on), () => (control.checked ? on : off));
  }

  /** @param {string} name @param {HTMLInputElement | HTMLTextAreaElement} control @param {(text: string) => unknown} [read] */
  function text(name, control, read = (typed) => typed) {
    const show = (/** @type {any} */ now) => document.activeElement !== control && (control.value = Array.isArray(now) ? now.join("\n") : (now ?? ""));
    return field(name, control, show, () => read(control.value.trim()));
  }

  function speakers() {
    const control = h("select", {}, ["", ...COUNTS].map((name) => h("option", { value: name }, t(/** @type {any} */ (`option.${name || "any_speakers"}`)))));
    const count = h("input", { type: "number", min: "1", max: "20", value: "2", "aria-label": t("option.speakers") });
    const show = () => {
      const name = COUNTS.find((one) => value(one)) ?? "";
      control.value = name;
      count.hidden = !name;
      if (name && document.activeElement !== count) count.value = value(name);
    };
    const read = () => {
      for (const name of COUNTS) delete chosen[name];
      if (control.value) chosen[control.value] = Number(count.value) || 2;
      return "";
    };
    count.addEventListener("input", () => choose("speakers", read()));
    return field("speakers", control, show, read, count);
  }

  /** @param {Offer} found */
  function build(found) {
    offered = found;
    for (const name of Object.keys(chosen)) if (!found.options.includes(name)) delete chosen[name];
    const option = (/** @type {string} */ name, /** @type {string} */ called) => h("option", { value: name }, called);
    const words = (/** @type {string} */ name, /** @type {string[]} */ values) => list(name, values.map((one) => option(one, t(/** @type {any} */ (`option.${name}_${one}`)))));
    const known = LANGUAGES.map((code) => ({ code, called: languageName(code) })).sort((a, b) => a.called.localeCompare(b.called));
    const near = navigator.languages.map((tag) => tag.split("-")[0]);
    const languages = [known.filter(({ code }) => near.includes(code)), known.filter(({ code }) => !near.includes(code))].map((some) => h("optgroup", { label: "—" }, some.map(({ code, called }) => option(code, called))));
    const models = [true, false].map((here) =>
      h("optgroup", { label: here ? t("option.here") : t("option.fetched") }, found.models.filter(({ installed }) => installed === here).map(({ name, bytes, multilingual }) =>
        option(name, [name, bytes && size(bytes), !multilingual && t("option.english_only")].filter(Boolean).join(" · ")))),
    );
    fill(
      body,
      h("div", {},
        list("language", [option("", t("option.detect")), ...languages]),
        list("model", models),
        words("priority", ["interactive", "normal", "bulk"])),
      h("div", {},
        check("diarize"),
        speakers(),
        check("task", "translate", "transcribe"),
        check("channels", "split", "mix"),
        check("align"),
        check("enhance", "denoise", "none"),
        words("enhance_for", ["all", "speakers", "both"])),
      h("div", {},
        text("vocabulary", h("textarea", { rows: 3 }), (typed) => (typed ? typed.split(/[\n,]/).map((word) => word.trim()).filter(Boolean) : "")),
        text("prompt", h("textarea", { rows: 3, maxLength: 2000 })),
        text("audio_track", h("input", { type: "text" }))),
      h("button", { type: "button", class: "button", onclick: () => ((chosen = {}), choose("", "")) }, t("option.reset")),
    );
    refresh();
  }

  async function load() {
    try {
      build(await offer(signal));
    } catch {
      if (!signal.aborted) fill(body, h("p", { role: "alert" }, t("option.away"), " ", h("button", { type: "button", class: "button", onclick: load }, t("upload.again"))));
    }
  }

  refresh();
  return {
    element: details,
    /** What a job is asked for. The page's own view of it needs the words' times. */
    values: () => ({ ...chosen, word_timestamps: true }),
    /** Shows at its field what was refused. @param {import("../core/api.js").ApiError} error */
    async tell(error) {
      details.open = true;
      if (!offered) await load();
      const named = error.errors.length ? error.errors : [{ field: FIELD_OF[/** @type {keyof typeof FIELD_OF} */ (error.code)] ?? "", message: error.message }];
      for (const { field: path, message } of named) {
        const name = path.split(".").pop() ?? "";
        const found = fields.get(COUNTS.includes(name) ? "speakers" : name);
        if (found) found.error.textContent = message;
      }
      fields.get(named[0]?.field.split(".").pop() ?? "")?.control.focus();
    },
  };
}
