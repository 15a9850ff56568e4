/** Who says what: the menu on a speaker's name. */

import { h, icon } from "../core/dom.js";
import { t } from "../core/words.js";
import { sure } from "../ui/dialog.js";
import { known } from "./merging.js";
import { voiceOf } from "./row.js";

/** @param {import("./typing.js").Desk} desk */
export function attachSpeakers({ transcript, list, history, canEdit, signal }) {
  list.element.addEventListener("click", ({ target }) => {
    const chip = target instanceof Element && target.closest(".speaker, .strip .person");
    if (chip && canEdit() && transcript.speakers) open(chip);
  });

  /** @param {Element} chip */
  function open(chip) {
    const key = chip.closest(".segment")?.getAttribute("data-key") ?? "";
    const segment = history.state.segments.find((one) => one.key === key);
    if (!segment) return;
    const id = segment.speaker;
    const others = history.state.speakers?.filter((one) => one.id !== id) ?? [];
    const name = h("input", { value: transcript.nameOf(id), maxLength: 200, autocomplete: "off" });
    const run = h("input", { type: "checkbox" });
    const people = (/** @type {(to: string) => void} */ act) =>
      others.map((one) => h("button", { type: "button", class: "person", "data-voice": voiceOf(transcript, { ...segment, speaker: one.id }), onclick: () => (menu.hidePopover(), act(one.id)) }, one.name));
    const rename = (/** @type {Event} */ event) => {
      event.preventDefault();
      menu.hidePopover();
      call(id ?? "", name.value.trim());
    };
    const menu = h(
      "div",
      { class: "menu speakers", popover: "auto", role: "dialog", "aria-label": t("speaker.menu") },
      id && h("form", { class: "field", onsubmit: rename }, h("label", {}, t("speaker.name"), name), h("button", { class: "icon-button", "aria-label": t("speaker.rename") }, icon("check"))),
      h("h3", { class: "small soft" }, t("speaker.give")),
      people((to) => give(key, to, run.checked)),
      id && h("button", { type: "button", class: "person", onclick: () => (menu.hidePopover(), give(key, null, run.checked)) }, t("speaker.nobody")),
      h("label", { class: "check small" }, run, t("speaker.run")),
      id && others.length > 0 && h("h3", { class: "small soft" }, t("speaker.same")),
      id ? people((to) => void unite(id, to)) : [],
    );
    const close = () => menu.remove();
    menu.addEventListener("toggle", () => menu.matches(":popover-open") || close());
    signal.addEventListener("abort", close);
    document.body.append(menu);
    menu.showPopover();
    const place = chip.getBoundingClientRect();
    const top = place.bottom + menu.offsetHeight < innerHeight ? place.bottom + 4 : place.top - menu.offsetHeight - 4;
    menu.style.setProperty("left", `${Math.max(8, Math.min(place.left, innerWidth - menu.offsetWidth - 8))}px`);
    menu.style.setProperty("top", `${Math.max(8, top)}px`);
    if (id) name.select();
    else menu.querySelector("button")?.focus();
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  function call(id, name) {
    const { speakers } = history.state;
    const other = speakers?.find((one) => one.id !== id && (one.name === name || one.id === name));
    if (other) void unite(id, other.id);
    else if (name && speakers && name !== transcript.nameOf(id)) history.apply({ speakers: speakers.map((one) => (one.id === id ? { ...one, name } : one)) });
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
    const names = { name: transcript.nameOf(id), by: transcript.nameOf(other) };
    if (!(await sure(t("speaker.unite", names), t("speaker.unite_text", names), t("speaker.unite_yes")))) return;
    history.pass(({ segments, speakers }) => {
      const gone = speakers?.find((one) => one.id === id);
      const left = speakers?.filter((one) => one !== gone).map((one) => (one.id === other ? { ...one, was: [...(one.was ?? []), id, ...(gone?.was ?? [])] } : one)) ?? null;
      return { segments: known(segments, left), speakers: left };
    });
  }
}
