/** A menu at a button, in the browser's own popover: arrows move in it, Escape and a click elsewhere close it. */

import { fill, h, icon } from "../core/dom.js";

/** @typedef {{ text: string, icon?: Parameters<typeof icon>[0], href?: string, save?: boolean, run?: () => void, more?: () => Item[] }} Item more: what is chosen from next */

/**
 * @param {HTMLElement} button
 * @param {Item[]} items
 */
export function openMenu(button, items) {
  const menu = h("div", { class: "menu", role: "menu", popover: "auto", "aria-label": button.getAttribute("aria-label") });
  const close = () => menu.hidePopover();

  /** @param {Item[]} found */
  const offer = (found) => {
    fill(menu, found.map(({ text, icon: name, href, save, run, more }) => {
      const inside = [name ? icon(name) : null, h("span", {}, text)];
      if (href !== undefined) return h("a", { role: "menuitem", href, download: save ? "" : null, onclick: close }, inside);
      return h("button", { type: "button", role: "menuitem", onclick: () => (more ? offer(more()) : (close(), run?.())) }, inside);
    }));
    place();
    choose(0);
  };
  const place = () => {
    const at = button.getBoundingClientRect();
    const left = document.dir === "rtl" ? at.left : at.right - menu.offsetWidth;
    const below = at.bottom + menu.offsetHeight < innerHeight || at.top < menu.offsetHeight;
    menu.style.setProperty("left", `${Math.max(8, left)}px`);
    menu.style.setProperty("top", `${Math.max(8, below ? Math.min(at.bottom, innerHeight - menu.offsetHeight - 8) : at.top - menu.offsetHeight)}px`);
  };
  /** @param {number} step from the focused one; 0: the first */
  const choose = (step) => {
    const all = /** @type {HTMLElement[]} */ ([...menu.children]);
    const now = all.findIndex((one) => one === document.activeElement);
    all.at(step && (now + step) % all.length)?.focus();
  };

  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Tab") close();
    if (step === undefined) return;
    event.preventDefault();
    choose(step);
  });
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    button.setAttribute("aria-expanded", "false");
    if (menu.contains(document.activeElement) || document.activeElement === document.body) button.focus();
    menu.remove();
  });
  button.after(menu);
  button.setAttribute("aria-expanded", "true");
  menu.showPopover();
  offer(items);
}
