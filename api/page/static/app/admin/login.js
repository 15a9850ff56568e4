/** Where the key is given: a place of its own, or a question over a page whose session has ended. */

import { ApiError, ask } from "../core/api.js";
import { fill, h } from "../core/dom.js";
import { to } from "../core/router.js";
import { t } from "../core/words.js";
import { me } from "../core/who.js";

/** @typedef {import("../core/who.js").Session} Session */

/** @type {import("../core/router.js").Show} */
export async function show(main, place, signal) {
  const asked = place.query.get("back") ?? "";
  const back = /^#\/(?!login)/.test(asked) ? asked : "#/"; // places of this page alone
  const card = h("section", { class: "login card stack" });
  const go = (/** @type {Session} */ found) => {
    me.set(found);
    if (found.needed) location.hash = back;
    else fill(card, h("h1", {}, t("login.open")), h("a", { class: "button main", href: back }, t("login.go")));
  };
  const form = keyForm(go);
  main.append(card);
  fill(card, h("h1", {}, t("login.title")), form, h("p", { class: "soft small" }, t("login.kept")));
  form.querySelector("input")?.focus();
  const found = await ask("GET", "session", { signal }).catch(() => null);
  if (found && !found.needed) go(found);
}

/** @type {Promise<boolean> | null} */
let waiting = null;

/** Asks for the key over whatever is shown. false: nobody gave it, and its own place is shown. */
export function again() {
  waiting ??= new Promise((resolve) => {
    const form = keyForm((found) => {
      if (me.is(found)) dialog.close("yes");
      else location.reload(); // nothing of before is for somebody else
    });
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "ended" },
      h("header", {}, h("h2", { id: "ended" }, t("login.ended"))), h("div", { class: "dialog-body" }, h("p", {}, t("login.ended_hint")), form));
    dialog.addEventListener("close", () => {
      const well = dialog.returnValue === "yes";
      dialog.remove();
      waiting = null;
      resolve(well);
      if (!well) location.hash = to(["login"], { back: location.hash });
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return waiting;
}

/**
 * Makes the first key and logs in with it. Who is asked for one meanwhile waits for that.
 * @template {{ key: string }} K
 * @param {() => Promise<K>} make
 */
export async function enter(make) {
  /** @type {(well: boolean) => void} */
  let ready = () => {};
  waiting = new Promise((resolve) => (ready = resolve));
  try {
    const made = await make();
    // for a second the service may not know yet that there is a key. It has to be shown in any case
    for (let n = 0; n < 20 && !me.needed; n++) {
      const found = await logIn(made.key).catch(() => null);
      if (found?.needed) me.set(found);
      else await new Promise((resolve) => setTimeout(resolve, 250));
    }
    return made;
  } finally {
    waiting = null;
    ready(true);
  }
}

/** @param {string} key for which the browser gets its cookie */
const logIn = (key) => ask("POST", "session", { headers: { Authorization: `Bearer ${key}` } });

/** @param {(found: Session) => void} done */
function keyForm(done) {
  const key = h("input", { type: "password", name: "key", autocomplete: "current-password", spellcheck: false, required: true });
  const wrong = h("p", { class: "notice bad", role: "alert", hidden: true });
  const seen = h("input", { type: "checkbox", onchange: () => (key.type = seen.checked ? "text" : "password") });
  const enter = h("button", { class: "button main" }, t("login.title"));
  const onsubmit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    enter.disabled = true;
    try {
      const text = key.value.trim();
      if (/[^!-~]/.test(text)) throw new ApiError(401, {}); // fits into no header
      done(await logIn(text));
    } catch (error) {
      wrong.hidden = false;
      fill(wrong, refusal(error));
      key.select();
    }
    enter.disabled = false;
  };
  return h("form", { class: "stack", onsubmit }, h("label", { class: "field" }, h("span", {}, t("login.key")), key), wrong,
    h("div", { class: "row" }, enter, h("label", { class: "check" }, seen, t("login.show"))));
}

/** @param {unknown} error */
export function refusal(error) {
  if (!(error instanceof ApiError)) return String(error);
  if (error.status === 0) return t("login.away");
  if (error.status === 429) return t("login.slow", { n: error.retryAfter });
  if (error.status !== 401) return error.message;
  return t(/revoked/.test(error.message) ? "login.revoked" : /expired/.test(error.message) ? "login.expired" : "login.wrong");
}
