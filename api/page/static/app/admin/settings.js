/** How this page looks, who is logged in, and what they keep. */

import { ask } from "../core/api.js";
import { h } from "../core/dom.js";
import { recall, remember } from "../core/memory.js";
import { LANGUAGES, chooseLanguage, chosenLanguage, moment, t } from "../core/words.js";
import { me } from "../core/who.js";
import { sure } from "../ui/dialog.js";
import { hooks } from "./hooks.js";
import { badge, button, card, field, live, table } from "./parts.js";

/** @type {import("../core/router.js").Show} */
export function show(main, _place, signal) {
  const mine = me.admin || me.scopes.includes("jobs");
  main.append(h("h1", {}, t("place.settings")), h("div", { class: "cards" }, look(), who(), mine && voices(signal), mine && hooks(signal), about(signal)));
}

/** @param {string} name @param {Record<string, string>} choices @param {string} chosen @param {(value: string) => void} choose */
function choice(name, choices, chosen, choose) {
  const options = Object.entries(choices).map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  const made = h("select", { onchange: () => choose(made.value) }, options);
  return field(name, made);
}

function look() {
  const themes = { "": t("settings.system"), light: t("settings.light"), dark: t("settings.dark") };
  return card(t("settings.look"), h("div", { class: "pair" },
    choice(t("settings.language"), LANGUAGES, chosenLanguage(), (code) => chooseLanguage(/** @type {keyof typeof LANGUAGES} */ (code))),
    choice(t("settings.theme"), themes, recall("theme", ""), (theme) => {
      remember("theme", theme);
      document.documentElement.dataset.theme = theme;
    })));
}

function who() {
  if (!me.needed) return card(t("settings.who"), h("p", {}, t("settings.open")));
  const leave = async () => {
    await ask("DELETE", "session");
    location.hash = "#/login";
    location.reload(); // nothing of before is left here
  };
  return card(t("settings.who"), h("p", { class: "row" }, h("strong", {}, me.owner), me.scopes.map((scope) => badge(scope))), h("p", {}, button(t("settings.leave"), leave)));
}

/** @param {AbortSignal} signal */
function voices(signal) {
  const title = t("settings.voices");
  const list = table(title, [t("admin.name"), t("admin.made"), t("admin.actions")]);
  const load = async () => {
    /** @type {import("../core/api.js").Schemas["VoicesBody"]} */
    const { items } = await ask("GET", "voices", { signal });
    list.show(items.map(({ name, created_at }) => ({ key: name, cells: [name, moment(created_at), button(t("admin.delete"), async () => {
      if (!(await sure(t("admin.delete"), name, t("admin.delete")))) return;
      await ask("DELETE", `voices/${encodeURIComponent(name)}`);
      await load();
    })] })));
  };
  return card(title, h("p", { class: "soft small" }, t("settings.voices_hint")), live(signal, 30, load), list.parts);
}

/** @param {AbortSignal} signal */
function about(signal) {
  const name = h("strong", {}, "Parascribe");
  ask("GET", new URL("version", document.baseURI).href, { signal }).then(({ version }) => name.append(` ${version}`), () => null);
  return card(t("settings.about"), h("p", { class: "row" }, name, h("a", { href: "docs" }, t("settings.docs")), h("a", { href: "docs#/keys" }, t("settings.docs_keys"))));
}
