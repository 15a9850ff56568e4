/** What is being said: finals, what is heard so far, and translations, one paragraph for each utterance. */

import { h } from "../core/dom.js";
import { clock, t } from "../core/words.js";

/** @typedef {import("./stream.js").Message} Message */

/** Of these the page keeps elements; a day of speech would slow it down. The job has all of it. */
const SHOWN = 500;

export function liveText() {
  const empty = h("p", { class: "soft" }, t("live.silence"));
  // what is final is read out; what may still change is not
  const finals = h("ol", { class: "plain" });
  const open = h("div", { class: "live-open", "aria-hidden": "true" });
  const element = h("div", { class: "live-text card", role: "region", tabIndex: 0, "aria-label": t("live.text") }, empty, h("div", { role: "log" }, finals), open);
  /** What is not final yet. @type {Map<number, HTMLElement>} */
  const partials = new Map();
  /** @type {Map<number, HTMLElement>} */
  const said = new Map();
  let reads = false; // whether somebody has gone back in the text
  element.addEventListener("scroll", () => (reads = element.scrollTop + element.clientHeight < element.scrollHeight - 48));

  /** @type {Record<string, (message: Message) => void>} */
  const on = {
    partial({ utterance, committed, tail, start }) {
      if (said.has(utterance)) return;
      const known = partials.get(utterance);
      const line = known ?? h("p", {}, h("time", {}, clock(start)), " ", h("span", { class: "committed" }), h("span", { class: "tail" }));
      const [first, last] = line.querySelectorAll("span");
      if (first) first.textContent = committed;
      if (last) last.textContent = tail; // with the blank in front of it, if there is one
      if (!known) open.append(line);
      partials.set(utterance, line);
    },
    final({ utterance, text, start, speaker, channel }) {
      partials.get(utterance)?.remove();
      partials.delete(utterance);
      if (said.has(utterance) || !text) return;
      const who = speaker ?? (channel === undefined || channel === null ? "" : t("transcript.channel", { n: channel + 1 }));
      const line = h("li", {}, h("p", {}, h("time", {}, clock(start)), " ", who && h("b", {}, `${who}: `), h("span", { class: "said" }, text)));
      said.set(utterance, line);
      finals.append(line);
      if (finals.children.length > SHOWN) finals.firstElementChild?.remove();
    },
    translation({ utterance, text, language, error }) {
      said.get(utterance)?.append(h("p", { class: "translation", lang: language }, error ? t("live.untranslated") : text));
    },
  };

  return {
    element,
    /** @param {Message} message */
    take(message) {
      const handle = on[message.type];
      if (handle === undefined) return;
      handle(message);
      empty.hidden = said.size > 0 || partials.size > 0;
      if (!reads) element.scrollTop = element.scrollHeight;
    },
    clear() {
      finals.replaceChildren();
      open.replaceChildren();
      partials.clear();
      said.clear();
      empty.hidden = false;
    },
  };
}
