/** Begins the page: who is here, which words, and which view for the address. */

import { ApiError, ask, session } from "./core/api.js";
import { fill, h, part } from "./core/dom.js";
import { features } from "./core/features.js";
import { here, to } from "./core/router.js";
import { loadWords, t } from "./core/words.js";
import { me } from "./core/who.js";
import { tell } from "./ui/toast.js";

/** @type {Record<string, () => Promise<{ show: import("./core/router.js").Show }>>} */
const VIEWS = {
  "": () => import("./jobs/view.js"),
  jobs: () => import("./transcript/view.js"),
  live: () => import("./live/view.js"),
  admin: () => import("./admin/view.js"),
  settings: () => import("./admin/settings.js"),
  login: () => import("./admin/login.js"),
};

const main = part("#main", HTMLElement);
/** whether there is somebody to speak to */
let speaks = false;
let leave = new AbortController();
/** @type {string | null} */
let shown = null;

async function showPlace() {
  const place = here();
  const key = place.path.join("/");
  if (key === shown) return;
  shown = key;
  leave.abort();
  const { signal } = (leave = new AbortController());
  const view = VIEWS[place.path[0] ?? ""];
  showPlaces(place.path[0] ?? "");
  try {
    if (view === undefined) throw new ApiError(404, { code: "not_found", detail: t("page.nowhere") });
    const { show } = await view();
    if (signal.aborted) return;
    fill(main);
    main.className = `view-${place.path[0] ?? "jobs-list"}`;
    await show(main, place, signal);
  } catch (error) {
    if (signal.aborted) return;
    fill(main, failed(error));
  }
  if (me.known) features().then(offerSpeech, () => null); // who has no key yet is not asked for one because of this
}

/** @param {import("./core/features.js").Features} found */
function offerSpeech({ live }) {
  if (speaks === live.available) return;
  speaks = live.available;
  showPlaces(here().path[0] ?? "");
}

/** @param {unknown} error */
function failed(error) {
  const upgraded = error instanceof TypeError; // a module that is not served any more: the service was upgraded
  return h(
    "section",
    { class: "empty", role: "alert" },
    h("h1", {}, upgraded ? t("page.upgraded") : t("page.failed")),
    h("p", {}, upgraded ? t("page.upgraded_hint") : error instanceof Error ? error.message : String(error)),
    h("p", {}, h("button", { type: "button", class: "button", onclick: () => location.reload() }, t("page.reload")), " ", h("a", { href: "#/" }, t("page.home"))),
  );
}

/** @param {string} current */
function showPlaces(current) {
  /** @type {[string, string][]} */
  const places = [["", t("place.jobs")]];
  if (speaks) places.push(["live", t("place.live")]);
  if (me.admin) places.push(["admin", t("place.admin")]);
  places.push(["settings", t("place.settings")]);
  part(".places", HTMLElement).hidden = current === "login" && !me.known;
  fill(
    part(".places", HTMLElement),
    places.map(([name, text]) => h("a", { href: to(name ? [name] : []), "aria-current": (current === "jobs" ? "" : current) === name ? "page" : null }, text)),
  );
}

async function begin() {
  await loadWords();
  fill(part(".skip", HTMLElement), t("page.skip"));
  part(".places", HTMLElement).setAttribute("aria-label", t("page.places"));
  session.addEventListener("login", (event) => {
    if (here().path[0] === "login") return;
    if (!me.known) return void (location.hash = to(["login"], { back: location.hash }));
    event.preventDefault(); // what is shown stays as it is, and goes on when the key has been given
    const again = import("./admin/login.js").then((login) => login.again());
    if (event instanceof CustomEvent) event.detail.again = again;
  });
  try {
    me.set(await ask("GET", "session"));
  } catch (error) {
    // who has no key yet is sent to the place for it; a service that is away is told by the view
    if (!(error instanceof ApiError) || (error.status !== 401 && error.status !== 0)) tell(String(error), { kind: "error" });
  }
  addEventListener("hashchange", showPlace);
  part(".skip", HTMLElement).addEventListener("click", (event) => {
    event.preventDefault(); // the address says which view it is
    main.focus();
  });
  await showPlace();
}

begin().catch((error) => {
  // without its own files there are no words either, in no language
  addEventListener("online", () => location.reload());
  fill(main, h("section", { class: "empty", role: "alert" }, h("h1", {}, "Parascribe"), h("p", {}, String(error)), h("button", { type: "button", class: "button", onclick: () => location.reload() }, "↻ Reload")));
});
