/** What can be done with a transcript: its buttons and keys, how it is saved, and what was heard at first. */

import { fill, h, icon } from "../core/dom.js";
import { clock, moment, t } from "../core/words.js";
import { show } from "../ui/dialog.js";
import { tell, tellError } from "../ui/toast.js";
import { Finder } from "./find.js";
import { History } from "./history.js";
import { KEYS } from "./keys.js";
import { align, known } from "./merging.js";
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

KEYS.push(["e", "edit.edit"]);

/** @param {Room} room of a job that has ended well */
export function startEditing(room) {
  const { transcript, list, tools, job, signal } = room;
  const { segments, speakers, revision, etag } = transcript;
  const history = new History({ segments, speakers });
  const saver = new Saver(job.id, history, { segments, speakers, revision, etag }, (conflicts) => choose(conflicts, transcript), signal);
  /** What was heard, while it is shown. @type {{ state: import("./model.js").State, differ: Set<string> } | null} */
  let heard = null;
  const desk = { ...room, history, canEdit: () => !heard };
  const typing = new Typing(desk, () => (setEditing(false), edit.focus()));
  const finder = new Finder(desk);

  /** @type {(sign: Parameters<typeof icon>[0], name: string, keys: string, onclick: () => void) => HTMLButtonElement} */
  const button = (sign, name, keys, onclick) =>
    h("button", { type: "button", class: "icon-button", "aria-label": name, title: `${name} (${keys})`, "aria-keyshortcuts": keys.replace("Ctrl", "Control"), onclick }, icon(sign));
  const edit = button("edit", t("edit.edit"), "e", () => setEditing(!typing.on));
  const undo = button("undo", t("edit.undo"), "Ctrl+Z", () => travel("undo"));
  const redo = button("redo", t("edit.redo"), "Ctrl+Shift+Z", () => travel("redo"));
  const find = button("find", t("find.find"), "f", () => finder.open());
  const original = h("button", { type: "button", class: "button quiet", onclick: () => void toggleHeard() }, t("edit.heard"));
  const status = h("span", { class: "save-state small soft", role: "status" });
  const note = h("div", { class: "notice heard row spread", role: "status", hidden: true });
  tools.append(edit, undo, redo, find, original, status);
  list.element.before(finder.element, note);

  const showButtons = () => {
    edit.ariaPressed = String(typing.on);
    original.ariaPressed = String(!!heard);
    original.hidden = !heard && saver.base.revision === 0 && !history.canUndo;
    edit.disabled = !!heard;
    undo.disabled = !!heard || !history.canUndo;
    redo.disabled = !!heard || !history.canRedo;
  };
  const showStage = () => {
    const { stage, why } = saver;
    const sign = stage === "saved" ? "check" : stage === "saving" || stage === "waiting" ? "retry" : "warning";
    const again = (stage === "conflict" || stage === "refused") && h("button", { type: "button", class: "button", onclick: () => void saver.again() }, t(stage === "conflict" ? "edit.resolve" : "edit.again"));
    status.dataset.stage = stage;
    status.ariaLive = sign === "warning" ? "polite" : "off"; // what goes well needs no words
    fill(status, icon(sign), h("span", {}, t(`edit.${stage}`)), again);
    if (stage === "refused") tell(`${t("edit.refused")}: ${why}`, { kind: "error" });
    transcript.revision = transcript.latest = saver.base.revision;
    transcript.etag = saver.base.etag;
    if (stage === "saved") transcript.changed([]); // for who shows what the service makes of it
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
    const place = history.state.segments.findIndex((one, n) => one !== before[n]);
    if (place >= 0) typing.visit(place);
  }

  async function toggleHeard() {
    try {
      const found = !heard && (await fetchRevision(job.id, "original", signal));
      setEditing(false);
      heard = null;
      if (found) {
        const lines = align(history.state.segments, found.segments);
        const now = new Map(history.state.segments.map((one) => [one.key, one]));
        const differ = lines.filter((one) => !same({ ...one, speaker: now.get(one.key)?.speaker ?? null }, now.get(one.key)));
        heard = { state: { segments: lines, speakers: found.speakers }, differ: new Set(differ.map(({ key }) => key)) };
        const acts = [h("button", { type: "button", class: "button", onclick: () => void restore() }, t("edit.restore")), h("button", { type: "button", class: "button main", onclick: () => void toggleHeard() }, t("edit.back"))];
        fill(note, h("span", {}, t("edit.heard_note", { n: differ.length })), h("span", { class: "row" }, acts));
      }
      note.hidden = !heard;
      transcript.put(heard?.state ?? history.state);
      showButtons();
    } catch (error) {
      tellError(error);
    }
  }

  async function restore() {
    if (!heard) return;
    const { segments: lines, speakers: names } = heard.state;
    const now = new Map(history.state.segments.map((one) => [one.key, one.speaker]));
    const moved = new Map(lines.map((one) => [one.speaker ?? "", now.get(one.key) ?? null]));
    const people = history.state.speakers?.map((one) => ({ ...one, name: names?.find(({ id }) => id === one.id)?.name ?? one.name })) ?? null;
    await toggleHeard();
    history.apply({ segments: known(lines, people, moved), speakers: people });
    tell(t("edit.restored"), { action: { text: t("edit.undo"), run: () => travel("undo") } });
  }

  history.addEventListener("change", () => {
    if (!heard) transcript.put(history.state);
    showButtons();
  });
  saver.addEventListener("stage", showStage);
  saver.addEventListener("taken", (event) => tell(t("edit.taken", { n: /** @type {CustomEvent} */ (event).detail })));
  list.renderText = (row, segment, said) => {
    const differs = !!heard?.differ.has(segment.key);
    row.classList.toggle("differs", differs);
    said.title = differs ? t("edit.differs") : "";
    return typing.render(segment, said);
  };
  attachSpeakers(desk);

  /** @type {Record<string, () => void>} */
  const keys = {
    e: () => setEditing(!typing.on),
    f: () => finder.open(),
    "Ctrl+f": () => finder.open(),
    "Ctrl+s": () => void saver.save(),
    "Ctrl+y": () => travel("redo"),
    "Ctrl+z": () => travel("undo"),
    "Ctrl+Shift+z": () => travel("redo"),
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    const { target } = event;
    const ctrl = event.ctrlKey || event.metaKey;
    const key = `${ctrl ? "Ctrl+" : ""}${event.shiftKey ? "Shift+" : ""}${event.key.toLowerCase()}`;
    if (!Object.hasOwn(keys, key) || event.defaultPrevented || event.altKey || !(target instanceof HTMLElement)) return;
    // a field undoes by itself; and when asked twice, the browser finds
    const field = target.closest("input, select, textarea, [popover], dialog");
    if (field ? !/^Ctrl.[fs]$/.test(key) || (key === "Ctrl+f" && finder.element.contains(field)) : target.isContentEditable && !ctrl) return;
    event.preventDefault();
    keys[key]();
  };
  document.addEventListener("keydown", pressed, { signal });
  const download = (/** @type {MouseEvent} */ event) => {
    const link = event.target instanceof Element && event.target.closest("a[download]");
    if (!(link instanceof HTMLElement) || !event.isTrusted || !saver.dirty) return;
    event.preventDefault();
    void saver.save().then(() => link.click()); // with what was written just now
  };
  document.addEventListener("click", download, { capture: true, signal });
  showStage();
  if (transcript.latest > revision) void saver.pull();
  void recover(saver).catch(tellError);
}

/** Offers what was not saved when a window went away. @param {Saver} saver */
async function recover(saver) {
  for (const draft of await saver.left()) {
    const time = moment(new Date(draft.at).toISOString());
    await saver.takeUp(draft, () => show(t("edit.left"), [h("p", {}, t("edit.left_text", { time }))], [
      { text: t("edit.discard"), value: "discard", kind: "danger" },
      { text: t("edit.take_up"), value: "take", kind: "main" },
    ]));
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
  const places = h("div", { class: "conflicts" }, conflicts.map((one, n) => h("div", { role: "group", "aria-label": `${n + 1}` }, card(one, n, "mine"), card(one, n, "theirs"))));
  const all = (/** @type {"mine" | "theirs"} */ side) =>
    h("button", { type: "button", class: "button", onclick: () => places.querySelectorAll("input").forEach((input) => input.value === side && input.click()) }, t(`edit.all_${side}`));
  const content = [h("p", {}, t("edit.conflict_text", { n: conflicts.length })), conflicts.length > 1 && h("div", { class: "row" }, all("mine"), all("theirs")), places];
  return (await show(t("edit.conflict_title"), content, [{ text: t("edit.settle"), value: "settle", kind: "main" }])) === "settle";
}
