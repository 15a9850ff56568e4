/** What the administrator looks after: the queue, who works on it, keys, storage, models. */

import { ApiError, ask } from "../core/api.js";
import { fill, h } from "../core/dom.js";
import { clock, number, size, span, t } from "../core/words.js";
import { me } from "../core/who.js";
import { keys } from "./keys.js";
import { badge, card, lines, live, table, tiles } from "./parts.js";

/** @typedef {import("../core/api.js").Schemas} Schemas */

/** @type {import("../core/router.js").Show} */
export function show(main, _place, signal) {
  if (!me.admin) throw new ApiError(403, { detail: t("admin.not_yours") });
  main.append(h("h1", {}, t("place.admin")), h("div", { class: "cards" }, queue(signal), work(signal), keys(signal), storage(signal), models(signal)));
}

/** @param {AbortSignal} signal */
function queue(signal) {
  const place = h("div");
  return card(t("admin.queue"), live(signal, 3, async () => {
    /** @type {Schemas["StatsBody"]} */
    const { jobs, backlog, lately } = await ask("GET", "stats", { signal });
    const speed = lately.real_time_factor;
    fill(place, tiles([
      [t("admin.waiting"), number(jobs.queued)],
      [t("admin.running"), number(jobs.processing + jobs.cancelling)],
      [t("admin.left"), clock(backlog.left_audio_seconds)],
      [t("admin.oldest"), backlog.jobs ? span(backlog.oldest_seconds) : "–"],
      [t("admin.speed"), speed ? t("admin.times", { n: 1 / speed }) : "–"],
    ]));
  }), place);
}

/** @param {AbortSignal} signal */
function work(signal) {
  const title = t("admin.consumers");
  const list = table(title, [t("admin.name"), t("admin.plan"), t("admin.engine"), t("admin.heard")]);
  const machine = h("p", { class: "soft small" });
  return card(title, live(signal, 4, async () => {
    const { consumers, machine: { cores, memory_mb, available_mb } } = await ask("GET", "system", { signal });
    list.show(consumers.map((/** @type {any} */ { id, host, version, plan, model, engine, live: streams, seen_seconds_ago: ago }) => ({
      key: id,
      cells: [
        lines(host, `${id} · ${version}`),
        lines(plan && t("admin.plan_is", { ...plan, n: plan.jobs }), streams && t("admin.streams", { n: streams.streams })),
        lines(model, ...(engine.hosts?.map((/** @type {any} */ one) => `${one.model.split("/").at(-1)}: ${one.state}`) ?? [badge(t("admin.away"), "bad")])),
        ago < 30 ? span(Math.round(ago)) : badge(span(ago), "bad"),
      ],
    })));
    fill(machine, t("admin.machine", { cores, free: size(available_mb * 1e6), memory: size(memory_mb * 1e6) }));
  }), list.parts, machine);
}

/** @param {AbortSignal} signal */
function storage(signal) {
  const place = h("div", { class: "stack" });
  const kept = (/** @type {number} */ hours) => hours > 0 && t("admin.kept", { time: span(3600 * hours) });
  return card(t("admin.storage"), live(signal, 30, async () => {
    /** @type {Schemas["StorageBody"]} */
    const { disk, place: where, sources, uploads, results, models, database_bytes, retention } = await ask("GET", "storage", { signal });
    const free = disk && t("admin.disk", { free: size(disk.free_bytes), total: size(disk.total_bytes) });
    fill(place,
      disk && h("div", {}, h("progress", { max: disk.total_bytes, value: disk.total_bytes - disk.free_bytes, "aria-label": free }), h("p", { class: "small" }, free)),
      tiles([
        [t("admin.sources") + (where === "s3" ? " (S3)" : ""), lines(size(sources.bytes ?? 0), t("admin.files", { n: sources.count }), kept(retention.audio_hours))],
        [t("place.jobs"), lines(number(results.count), kept(retention.result_hours))],
        [t("admin.uploads"), lines(size(uploads.bytes ?? 0), t("admin.files", { n: uploads.count }))],
        [t("admin.models"), lines(size(models.bytes ?? 0), t("admin.files", { n: models.count }))],
        [t("admin.database"), database_bytes === null ? "–" : size(database_bytes)],
      ]));
  }), place);
}

/** @param {AbortSignal} signal */
function models(signal) {
  const title = t("admin.models");
  const list = table(title, [t("admin.name"), t("admin.size"), t("admin.state")]);
  return card(title, live(signal, 30, async () => {
    /** @type {Schemas["ModelsBody"]} */
    const { items, default: usual } = await ask("GET", "models", { signal });
    list.show(items.filter((one) => one.installed).map(({ name, bytes, verified }) => ({
      key: name,
      cells: [
        h("span", { class: "row" }, name, name === usual && badge(t("admin.usual"))),
        bytes && size(bytes),
        verified === null ? badge(t("admin.unchecked")) : verified ? badge(t("admin.checked"), "good") : badge(t("admin.broken"), "bad"),
      ],
    })));
  }), list.parts);
}
