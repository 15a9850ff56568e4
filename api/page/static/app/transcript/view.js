/** One transcript: what is heard, what was understood, and what can be done with it. */

import { ApiError, ask } from "../core/api.js";
import { fill, h } from "../core/dom.js";
import { t } from "../core/words.js";
import { SegmentList } from "./list.js";
import { Transcript } from "./model.js";
import { Player } from "./player.js";

/** @typedef {import("../core/api.js").Schemas["JobBody"]} Job */

/** @type {import("../core/router.js").Show} */
export async function show(main, { path }, signal) {
  /** @type {Job} */
  const job = await ask("GET", `jobs/${path[1]}`, { signal });
  const transcript = new Transcript(job.id);
  const tools = h("div", { class: "tools", role: "toolbar", "aria-label": t("transcript.tools") });
  const list = new SegmentList(transcript, signal);
  fill(main, h("h1", {}, job.source.filename), tools, list.element);
  if (job.status !== "completed") throw new ApiError(409, { detail: job.status });
  await transcript.load("latest", signal);
  const player = new Player({ job, transcript, signal });
  main.append(player.element);
  const { startEditing } = await import("./editing.js");
  startEditing({ transcript, list, player, tools, job, signal });
}
