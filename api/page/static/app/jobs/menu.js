/** A menu at a button, in the browser's own popover: arrows move in it, Escape and a click elsewhere close it. */

import { fill, h, icon } from "../core/dom.js";

/** @typedef {{ text: string, icon?: Parameters<typeof icon>[0], href?: string, save?: boolean, run?: () => void, more?: () => Item[] }} Item more: to choose from next */

/**
 * @param {HTMLElement} button
 * @param {Item[]} items
 */
export function openMenu(button, items) {
  const menu = h("div", { class: "menu", role: "menu", popover: "auto", "aria-label": button.ariaLabel || button.textContent });
  const offer = (/** @type {Item[]} */ found) => {
    fill(menu, found.map(({ text, icon: name, href, save, run, more }) => {
      const onclick = () => (more ? offer(more()) : (menu.hidePopover(), run?.()));
      return h(href ? "a" : "button", { role: "menuitem", type: href ? null : "button", href, download: save ? "" : null, onclick }, name && icon(name), text);
    }));
    const at = button.getBoundingClientRect();
    menu.style.setProperty("left", `${Math.max(8, at.right - menu.offsetWidth)}px`);
    menu.style.setProperty("top", `${Math.max(8, Math.min(at.bottom, innerHeight - menu.offsetHeight - 8))}px`);
    part(0)?.focus();
  };
  const part = (/** @type {number} */ at) => /** @type {HTMLElement | undefined} */ ([...menu.children].at(at % menu.children.length));
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Tab") menu.hidePopover();
    if (!step) return;
    event.preventDefault();
    part([...menu.children].findIndex((one) => one === document.activeElement) + step)?.focus();
  });
  menu.addEventListener("toggle", ({ newState }) => {
    button.ariaExpanded = String(newState === "open");
    if (newState === "open") return;
    if (menu.contains(document.activeElement) || document.activeElement === document.body) button.focus();
    menu.remove();
  });
  button.after(menu);
  menu.showPopover();
  offer(items);
}
