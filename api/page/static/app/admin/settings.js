/** To come. */

import { h } from "../core/dom.js";
import { t } from "../core/words.js";

/** @type {import("../core/router.js").Show} */
export function show(main) {
  main.append(h("h1", {}, t("place.settings")));
}
