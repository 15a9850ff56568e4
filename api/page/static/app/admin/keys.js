/** Keys: who may come in, what for and how much. */

import { ApiError, ask } from "../core/api.js";
import { fill, h } from "../core/dom.js";
import { features } from "../core/features.js";
import { moment, named, t } from "../core/words.js";
import { me } from "../core/who.js";
import { sure } from "../ui/dialog.js";
import { enter } from "./login.js";
import { amount, badge, button, card, checks, field, fillIn, lines, live, showOnce, table, tiles } from "./parts.js";

/** @typedef {import("../core/api.js").Schemas["KeyBody"]} Key */

const SCOPES = ["jobs", "models", "admin"];
/** and their units */
const LIMITS = [["requests_per_minute", ""], ["jobs_waiting", ""], ["audio_seconds_per_day", "(s)"], ["upload_mb", "(MiB)"]];
const KINDS = { good: "good", expired: "doubt", revoked: "" };

/** @param {AbortSignal} signal */
export function keys(signal) {
  const title = t("admin.keys");
  const list = table(title, [t("admin.name"), t("admin.scopes"), t("admin.made"), t("admin.until"), t("admin.used"), t("admin.state"), t("admin.actions")]);
  const usual = h("div");
  const all = h("input", { type: "checkbox", onchange: () => load() });
  const load = async () => {
    const [{ items, limits }, offered] = await Promise.all([ask("GET", "keys", { signal }), features()]);
    list.show(items.filter((/** @type {Key} */ key) => all.checked || key.state === "good").map((/** @type {Key} */ key) => row(key, load)));
    fill(usual, tiles(told({ ...limits, ...offered.limits })));
  };
  return card(title,
    !me.needed && h("p", { class: "notice" }, t("admin.open")),
    live(signal, 10, load),
    list.parts,
    h("div", { class: "row spread" }, button(t("admin.make"), () => make(load), "main"), h("label", { class: "check" }, all, t("admin.all"))),
    h("h3", {}, t("admin.limits")),
    usual);
}

/**
 * Those that are said.
 * @param {Record<string, any>} limits
 * @returns {[string, string][]}
 */
const told = (limits) => Object.entries(limits).flatMap(([name, value]) => (value === null ? [] : [[named("admin.limit", name), amount(name, value)]]));

/** @param {Key} key @param {() => Promise<void>} load */
function row(key, load) {
  const { id, name, owner, scopes, state } = key;
  const when = (/** @type {string | null} */ at) => (at ? moment(at) : "–");
  return {
    key: id,
    cells: [
      lines([name, key.current && badge(t("admin.current"))], id, owner !== name && `${t("admin.owner")}: ${owner}`),
      lines(scopes.join(", "), told(key.limits).map((one) => one.join(": ")).join(", ")),
      when(key.created_at),
      key.expires_at ? moment(key.expires_at) : t("admin.never"),
      when(key.used_at),
      badge(named("admin.key", state), KINDS[state]),
      key.in_settings ? "API_KEYS" : state === "good" && button(t("admin.revoke"), () => revoke(key, load)),
    ],
  };
}

/** @param {Key} key @param {() => Promise<void>} load */
async function revoke({ id, name, current }, load) {
  const yes = t("admin.revoke");
  if (!(await sure(`${yes}: ${name}`, t(current ? "admin.revoke_own" : "admin.revoke_hint"), yes))) return;
  try {
    await ask("DELETE", `keys/${id}`);
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "no_admin_left") throw error;
    if (!(await sure(`${yes}: ${name}`, t("admin.last"), yes))) return;
    await ask("DELETE", `keys/${id}`, { query: { force: true } });
  }
  await load();
}

/** @param {() => Promise<void>} load */
async function make(load) {
  const first = !me.needed;
  const text = (value = "") => h("input", { maxLength: 128, pattern: "[^,:]*", value });
  const [name, owner] = [text(first ? "admin" : ""), text()];
  name.required = name.autofocus = true;
  const scopes = checks(t("admin.scopes"), SCOPES, first ? SCOPES : SCOPES.slice(0, 2));
  const days = h("input", { type: "number", min: "1", placeholder: t("admin.never") });
  const limits = LIMITS.map(([, unit]) => h("input", { type: "number", min: "0", step: unit ? "any" : "1", placeholder: t("admin.usual") }));
  const number = (/** @type {HTMLInputElement} */ { value }) => (value === "" ? null : Number(value));
  const post = () => ask("POST", "keys", { json: {
    name: name.value,
    owner: owner.value || null,
    scopes: scopes.chosen(),
    expires_in: 86400 * Number(days.value) || null,
    limits: Object.fromEntries(LIMITS.map(([limit], n) => [limit, number(limits[n])])),
  } });
  const made = await fillIn(t("admin.make"), [
    first && h("p", { class: "notice" }, t("admin.first")),
    field(t("admin.name"), name),
    scopes.part,
    h("p", { class: "soft small" }, t("admin.scopes_hint")),
    field(t("admin.days"), days),
    h("details", {}, h("summary", {}, `${t("admin.owner")}, ${t("admin.limits")}`), h("div", { class: "pair" },
      field(t("admin.owner"), owner), LIMITS.map(([limit, unit], n) => field(`${named("admin.limit", limit)} ${unit}`, limits[n])))),
  ], () => (first ? enter(post) : post()));
  if (!made) return;
  await showOnce(`${t("login.key")}: ${made.name}`, made.key);
  if (first) location.reload(); // there is somebody now
  else await load();
}
