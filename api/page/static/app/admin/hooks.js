/** Webhooks: who is told of jobs' ends, and what became of it. */

import { ask } from "../core/api.js";
import { h } from "../core/dom.js";
import { moment, named, span, t } from "../core/words.js";
import { show, sure } from "../ui/dialog.js";
import { badge, button, card, checks, field, fillIn, lines, live, showOnce, table } from "./parts.js";

/** @typedef {import("../core/api.js").Schemas["WebhookBody"]} Webhook */
/** @typedef {import("../core/api.js").Schemas["DeliveryBody"]} Delivery */

const EVENTS = ["job.completed", "job.failed", "job.cancelled", "batch.completed"];
const KINDS = { active: "good", delivered: "good", waiting: "", paused: "doubt", disabled: "bad", failed: "bad" };

/** @param {keyof typeof KINDS} status */
const state = (status) => badge(named("settings.hook", status), KINDS[status]);

/** @param {AbortSignal} signal */
export function hooks(signal) {
  const title = t("settings.hooks");
  const list = table(title, [t("settings.address"), t("admin.state"), t("admin.actions")]);
  const load = async () => {
    const [{ items }, callbacks] = await Promise.all([ask("GET", "webhooks", { signal }), ask("GET", "webhooks/callback", { signal })]);
    list.show([...items, callbacks].map((hook) => row(hook, load)));
  };
  return card(title, live(signal, 10, load), list.parts, h("p", {}, button(t("settings.add_hook"), () => add(load))));
}

/** @param {Webhook} hook @param {() => Promise<void>} load */
function row({ id, url, events, status, failures }, load) {
  const path = `webhooks/${id}`;
  const address = url ?? t("settings.callbacks");
  const rotate = async () => {
    if (!(await sure(t("settings.rotate"), t("settings.rotate_hint"), t("settings.rotate"), "main"))) return;
    await showOnce(t("settings.secret"), (await ask("POST", `${path}/rotate`)).secret);
  };
  /** @param {string} method @param {string} [more] */
  const change = async (method, more = "") => {
    if (method === "DELETE" && !(await sure(t("admin.delete"), address, t("admin.delete")))) return;
    await ask(method, path + more);
    await load();
  };
  return {
    key: id,
    cells: [
      lines(address, events.join(", ")),
      lines(state(status), failures > 0 && t("settings.failures", { n: failures })),
      h("div", { class: "row" },
        button(t("settings.deliveries"), () => deliveries(address, path)),
        button(t("settings.rotate"), rotate),
        status !== "active" && button(t("settings.resume"), () => change("POST", "/resume"), "main"),
        url && button(t("admin.delete"), () => change("DELETE"))),
    ],
  };
}

/** @param {() => Promise<void>} load */
async function add(load) {
  const url = h("input", { type: "url", required: true, autofocus: true });
  const events = checks(t("settings.events"), EVENTS, EVENTS);
  const made = await fillIn(t("settings.add_hook"), [field(t("settings.address"), url), events.part], () =>
    ask("POST", "webhooks", { json: { url: url.value, events: events.chosen() } }));
  if (!made) return;
  await showOnce(t("settings.secret"), made.secret);
  await load();
}

/** @param {string} address @param {string} path */
async function deliveries(address, path) {
  const shown = new AbortController();
  const { signal } = shown;
  const list = table(address, [t("settings.events"), t("admin.state"), t("settings.attempts"), t("admin.actions")]);
  const load = async () => {
    const { items } = await ask("GET", `${path}/deliveries`, { signal });
    list.show(items.map((/** @type {Delivery} */ one) => ({ key: one.id, cells: cells(one, async () => {
      await ask("POST", `${path}/deliveries/${one.id}/redeliver`);
      await load();
    }) })));
  };
  await show(t("settings.deliveries"), [h("p", { class: "soft small" }, address), live(signal, 3, load), ...list.parts], []);
  shown.abort();
}

/** @param {Delivery} one @param {() => Promise<void>} again */
const cells = ({ event, subject, created_at, status, attempts, next_attempt_in, last_attempt_at, last_status, last_error }, again) => [
  lines(event, h("a", { href: event.startsWith("job") ? `#/jobs/${subject}` : "#/" }, subject.slice(0, 8)), moment(created_at)),
  lines(state(status), next_attempt_in && t("settings.next", { time: span(next_attempt_in) })),
  lines(String(attempts), [last_attempt_at && moment(last_attempt_at), last_status && `HTTP ${last_status}`, last_error].filter(Boolean).join(" · ")),
  button(t("settings.redeliver"), again),
];
