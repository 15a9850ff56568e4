/** Who says what: the menu on a speaker's name. */

import { h, icon } from "../core/dom.js";
import { t } from "../core/words.js";
import { sure } from "../ui/dialog.js";
import { known } from "./merging.js";

/** @typedef {import("./model.js").State} State */

/**
 * @param {object} desk
 * @param {import("./model.js").Transcript} desk.transcript
 * @param {import("./list.js").SegmentList} desk.list
 * @param {import("./history.js").History} desk.history
 * @param {() => boolean} desk.canEdit
 * @param {AbortSignal} desk.signal
 */
export function attachSpeakers({ transcript, list, history, canEdit, signal }) {
  list.element.addEventListener("click", (event) => {
    const chip = event.target instanceof Element && event.target.closest(".speaker, .strip .person");
    if (!(chip instanceof HTMLElement) || !canEdit() || transcript.speakers === null) return;
    event.stopPropagation();
    open(chip);
  }, { capture: true });

  /** @param {HTMLElement} chip */
  function open(chip) {
    const key = chip.closest(".segment")?.getAttribute("data-key") ?? "";
    const id = history.state.segments.find((one) => one.key === key)?.speaker ?? null;
    const people = history.state.speakers ?? [];
    const others = people.filter((one) => one.id !== id);
    const name = h("input", { value: id ? transcript.nameOf(id) : "", maxLength: 200, autocomplete: "off" });
    const run = h("input", { type: "checkbox" });
    const act = (/** @type {string} */ text, /** @type {() => void} */ onclick, voice = "") => h("button", { type: "button", class: "person", "data-voice": voice, onclick: () => (menu.hidePopover(), onclick()) }, text);
    const person = (/** @type {import("./model.js").Speaker} */ one, /** @type {() => void} */ onclick) => act(one.name, onclick, String(people.indexOf(one) % 10));
    const rename = (/** @type {Event} */ event) => {
      event.preventDefault();
      menu.hidePopover();
      if (id) void call(id, name.value.trim());
    };
    const menu = h(
      "div",
      { class: "menu speakers", popover: "auto", role: "dialog", "aria-label": t("speaker.menu") },
      id && h("form", { class: "field", onsubmit: rename }, h("label", {}, h("span", { class: "small" }, t("speaker.name")), name), h("button", { class: "icon-button", "aria-label": t("speaker.rename"), title: t("speaker.rename") }, icon("check"))),
      h("h3", { class: "small soft" }, t("speaker.give")),
      others.map((one) => person(one, () => give(key, one.id, run.checked))),
      id && act(t("speaker.nobody"), () => give(key, null, run.checked)),
      h("label", { class: "check small" }, run, t("speaker.run")),
      id && others.length > 0 && h("h3", { class: "small soft" }, t("speaker.same")),
      id ? others.map((one) => person(one, () => void unite(id, one.id))) : [],
    );
    menu.addEventListener("toggle", () => {
      if (menu.matches(":popover-open")) return;
      menu.remove();
      if (document.activeElement === document.body) /** @type {HTMLElement | null | undefined} */ (list.rowOf(key)?.querySelector(".speaker"))?.focus();
    });
    document.body.append(menu);
    menu.showPopover();
    const place = chip.getBoundingClientRect();
    const below = place.bottom + menu.offsetHeight < innerHeight;
    menu.style.setProperty("left", `${Math.max(8, Math.min(place.left, innerWidth - menu.offsetWidth - 8))}px`);
    menu.style.setProperty("top", `${Math.max(8, below ? place.bottom + 4 : Math.min(place.top, innerHeight) - menu.offsetHeight - 4)}px`);
    (id ? name : menu.querySelector("button"))?.focus();
    if (id) name.select();
    signal.addEventListener("abort", () => menu.remove());
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  async function call(id, name) {
    const { speakers } = history.state;
    const other = speakers?.find((one) => one.id !== id && (one.name === name || one.id === name));
    if (other) return unite(id, other.id);
    if (name && name !== transcript.nameOf(id)) history.apply({ speakers: speakers?.map((one) => (one.id === id ? { ...one, name } : one)) ?? null });
  }

  /**
   * @param {string} key
   * @param {string | null} to
   * @param {boolean} run what follows too, until somebody else speaks
   */
  function give(key, to, run) {
    const { segments } = history.state;
    const from = segments.findIndex((one) => one.key === key);
    let end = from + 1;
    while (run && segments[end]?.speaker === segments[from].speaker) end++;
    history.apply({ segments: segments.map((one, n) => (n >= from && n < end ? { ...one, speaker: to } : one)) });
  }

  /**
   * The service cannot part two again: it is no step that is undone, and earlier steps have it too.
   * @param {string} id
   * @param {string} other who that is
   */
  async function unite(id, other) {
    const [name, by] = [transcript.nameOf(id), transcript.nameOf(other)];
    if (!(await sure(t("speaker.unite", { name, by }), t("speaker.unite_text", { name, by }), t("speaker.unite_yes")))) return;
    history.pass(({ segments, speakers }) => {
      const gone = speakers?.find((one) => one.id === id);
      const left = speakers?.filter((one) => one !== gone).map((one) => (one.id === other && gone ? { ...one, was: [...(one.was ?? []), id, ...(gone.was ?? [])] } : one)) ?? null;
      return { segments: known(segments, left), speakers: left };
    });
  }
}
