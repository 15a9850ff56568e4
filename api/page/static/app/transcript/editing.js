/** What can be done with a transcript: its buttons and keys, how it is saved, and what was heard at first. */

import { fill, h, icon } from "../core/dom.js";
import { clock, moment, t } from "../core/words.js";
import { show, sure } from "../ui/dialog.js";
import { tell, tellError } from "../ui/toast.js";
import { Finder } from "./find.js";
import { History } from "./history.js";
import { align, known } from "./merging.js";
import { KEYS } from "./keys.js";
import { fetchRevision } from "./model.js";
import { Saver } from "./saving.js";
import { same } from "./segments.js";
import { attachSpeakers } from "./speakers.js";
import { Typing } from "./typing.js";

/** @typedef {import("./merging.js").Conflict} Conflict */

/**
 * @typedef {object} Room
 * @property {import("./model.js").Transcript} transcript
 * @property {import("./list.js").SegmentList} list
 * @property {import("./player.js").Player} player
 * @property {HTMLElement} tools
 * @property {import("../core/api.js").Schemas["JobBody"]} job
 * @property {AbortSignal} signal
 */

KEYS.unshift(["e", "edit.edit"]);

/** @param {Room} room of a job that has ended well */
export function startEditing({ transcript, list, player, tools, job, signal }) {
  const { segments, speakers, revision, etag } = transcript;
  const history = new History({ segments, speakers });
  const saver = new Saver(job.id, history, { segments, speakers, revision, etag }, (conflicts) => choose(conflicts, transcript), signal);
  const typing = new Typing({ transcript, list, player, history });
  /** What was heard, while it is shown. @type {{ state: import("./model.js").State, differ: Set<string> } | null} */
  let heard = null;
  const finder = new Finder({ transcript, list, history, canEdit: () => !heard });

  const edit = button("edit", t("edit.edit"), () => setEditing(!typing.on), "e");
  const undo = button("undo", t("edit.undo"), () => travel("undo"), "Control+Z");
  const redo = button("redo", t("edit.redo"), () => travel("redo"), "Control+Shift+Z");
  const find = button("find", t("find.find"), () => finder.open(), "f");
  const original = h("button", { type: "button", class: "button quiet", onclick: () => void toggleHeard() }, t("edit.heard"));
  const status = h("span", { class: "save-state small soft", role: "status" });
  tools.append(edit, undo, redo, find, original, status);
  const note = h("div", { class: "notice heard row spread", role: "status", hidden: true });
  list.element.before(finder.element, note);

  const showButtons = () => {
    edit.ariaPressed = String(typing.on);
    original.ariaPressed = String(!!heard);
    undo.disabled = !history.canUndo || !!heard;
    redo.disabled = !history.canRedo || !!heard;
    edit.disabled = !!heard;
    original.hidden = !heard && saver.base.revision === 0 && !saver.dirty;
  };
  const showStage = () => {
    const { stage, why } = saver;
    const again = () => {
      saver.stage = "waiting";
      void (stage === "conflict" ? saver.pull() : saver.save());
    };
    status.dataset.stage = stage;
    fill(
      status,
      icon(stage === "saved" ? "check" : stage === "saving" || stage === "waiting" ? "retry" : "warning"),
      h("span", { title: why || null }, t(`edit.${stage}`)),
      (stage === "conflict" || stage === "refused") && h("button", { type: "button", class: "button", onclick: again }, t(stage === "conflict" ? "edit.resolve" : "edit.again")),
    );
    if (stage === "refused") tell(`${t("edit.refused")}: ${why}`, { kind: "error" });
    transcript.revision = saver.base.revision;
    transcript.latest = saver.base.revision;
    transcript.etag = saver.base.etag;
    showButtons();
  };

  /** @param {boolean} on */
  function setEditing(on) {
    typing.set(on && !heard);
    showButtons();
  }

  /** @param {"undo" | "redo"} way */
  function travel(way) {
    if (heard) return;
    const before = history.state.segments;
    history[way]();
    const now = history.state.segments;
    const place = now.findIndex((one, n) => one !== before[n]);
    if (place >= 0) typing.visit(Math.min(place, now.length - 1));
  }

  async function toggleHeard() {
    if (heard) {
      heard = null;
      note.hidden = true;
      transcript.put(history.state);
      return showButtons();
    }
    original.disabled = true;
    try {
      const found = await fetchRevision(job.id, "original", signal);
      const now = new Map(history.state.segments.map((one) => [one.key, one]));
      const lines = align(history.state.segments, found.segments);
      const differ = lines.filter((one) => {
        const other = now.get(one.key);
        return !other || !same({ ...one, speaker: other.speaker }, other);
      });
      setEditing(false);
      heard = { state: { segments: lines, speakers: found.speakers }, differ: new Set(differ.map(({ key }) => key)) };
      fill(
        note,
        h("span", {}, t("edit.heard_note", { n: differ.length })),
        h("span", { class: "row" },
          h("button", { type: "button", class: "button", onclick: restore }, t("edit.restore")),
          h("button", { type: "button", class: "button main", onclick: () => void toggleHeard() }, t("edit.back"))),
      );
      note.hidden = false;
      transcript.put(heard.state);
    } catch (error) {
      tellError(error);
    }
    original.disabled = false;
    showButtons();
  }

  async function restore() {
    if (!heard || !(await sure(t("edit.restore"), t("edit.restore_text"), t("edit.restore"), "main"))) return;
    const { state } = heard;
    const now = new Map(history.state.segments.map((one) => [one.key, one.speaker]));
    const moved = new Map(state.segments.map((one) => [one.speaker ?? "", now.get(one.key) ?? null]));
    const people = history.state.speakers?.map((one) => ({ ...one, name: state.speakers?.find(({ id }) => id === one.id)?.name ?? one.name })) ?? null;
    await toggleHeard();
    history.apply({ segments: known(state.segments, people, moved), speakers: people });
    tell(t("edit.restored"), { action: { text: t("edit.undo"), run: () => travel("undo") } });
  }

  history.addEventListener("change", () => {
    if (!heard) transcript.put(history.state);
    showButtons();
  });
  saver.addEventListener("stage", showStage);
  saver.addEventListener("taken", (event) => tell(t("edit.taken", { n: /** @type {CustomEvent} */ (event).detail })));
  list.renderText = (row, segment, said) => {
    const differs = heard?.differ.has(segment.key) ?? false;
    row.classList.toggle("differs", differs);
    said.title = differs ? t("edit.differs") : "";
    return typing.render(segment, said);
  };
  list.refresh(null);
  attachSpeakers({ transcript, list, history, canEdit: () => !heard, signal });

  const keys = {
    "": { e: () => setEditing(!typing.on), f: () => finder.open() },
    ctrl: { f: () => finder.open(), z: () => travel("undo"), y: () => travel("redo"), s: () => void saver.save() },
    "ctrl shift": { z: () => travel("redo") },
  };
  document.addEventListener(
    "keydown",
    (event) => {
      const { target, altKey, shiftKey } = event;
      const ctrl = event.ctrlKey || event.metaKey;
      const inside = target instanceof HTMLElement && (target.isContentEditable || target.matches("input, select, textarea"));
      const field = inside && !target.isContentEditable;
      if (event.defaultPrevented || altKey || document.querySelector("dialog[open]") || (inside && !ctrl)) return;
      const key = event.key.toLowerCase();
      if (field && (key !== "f" || finder.element.contains(target))) return; // a field undoes by itself; asked twice, the browser finds
      /** @type {Record<string, () => void>} */
      const known = keys[ctrl ? (shiftKey ? "ctrl shift" : "ctrl") : ""];
      if (shiftKey && !ctrl) return;
      if (!Object.hasOwn(known, key)) return;
      event.preventDefault();
      known[key]();
    },
    { signal },
  );
  list.element.addEventListener("leave", () => {
    setEditing(false);
    edit.focus();
  });
  showStage();
  void recover(saver).catch(tellError);
}

/**
 * @param {Parameters<typeof icon>[0]} sign
 * @param {string} name
 * @param {() => void} onclick
 * @param {string} keys
 */
function button(sign, name, onclick, keys) {
  const shown = keys.replace("Control", "Ctrl");
  return h("button", { type: "button", class: "icon-button", "aria-label": name, title: `${name} (${shown})`, "aria-keyshortcuts": keys, onclick }, icon(sign));
}

/**
 * Offers what was not saved when a window went away.
 * @param {Saver} saver
 */
async function recover(saver) {
  for (const draft of await saver.left()) {
    let answer = /** @type {string | null} */ ("");
    await saver.takeUp(draft, async () => {
      answer = await show(t("edit.left"), [h("p", {}, t("edit.left_text", { time: moment(new Date(draft.at).toISOString()) }))], [
        { text: t("edit.discard"), value: "discard", kind: "danger" },
        { text: t("edit.take_up"), value: "take", kind: "main" },
      ]);
      return answer === "take";
    });
    if (answer === "discard") await saver.drop(draft);
  }
}

/**
 * Asks which side is to stay where both changed the same.
 * @param {Conflict[]} conflicts
 * @param {import("./model.js").Transcript} transcript
 */
async function choose(conflicts, transcript) {
  const line = (/** @type {import("./model.js").Segment} */ one) =>
    h("p", { dir: "auto" }, h("span", { class: "soft small numbers" }, `${clock(one.start)}–${clock(one.end)} ${transcript.nameOf(one.speaker)} `), one.text);
  const card = (/** @type {Conflict} */ conflict, /** @type {number} */ n, /** @type {"mine" | "theirs"} */ side) =>
    h("label", { class: "side" },
      h("input", { type: "radio", name: `place-${n}`, value: side, checked: conflict.take === side, onchange: () => (conflict.take = side) }),
      h("span", {}, h("strong", { class: "small" }, t(`edit.${side}`)), conflict[side].length ? conflict[side].map(line) : h("p", { class: "soft" }, t("edit.gone"))));
  const places = h("div", { class: "conflicts" }, conflicts.map((one, n) => h("fieldset", {}, h("legend", { class: "visually-hidden" }, t("edit.place", { n: n + 1 })), card(one, n, "mine"), card(one, n, "theirs"))));
  const all = (/** @type {"mine" | "theirs"} */ side) => {
    for (const input of places.querySelectorAll("input")) if (input.value === side) input.click();
  };
  const answer = await show(
    t("edit.conflict_title"),
    [
      h("p", {}, t("edit.conflict_text", { n: conflicts.length })),
      conflicts.length > 1 && h("div", { class: "row" }, h("button", { type: "button", class: "button", onclick: () => all("mine") }, t("edit.all_mine")), h("button", { type: "button", class: "button", onclick: () => all("theirs") }, t("edit.all_theirs"))),
      places,
    ],
    [{ text: t("edit.settle"), value: "settle", kind: "main" }],
  );
  return answer === "settle";
}
