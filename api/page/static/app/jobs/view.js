/** All jobs, and the place to drop files. */

import { h } from "../core/dom.js";
import { t } from "../core/words.js";
import { uploadPanel } from "../upload/panel.js";

/** @type {import("../core/router.js").Show} */
export function show(main, _place, signal) {
  main.append(h("h1", {}, t("place.jobs")), uploadPanel(signal));
}
