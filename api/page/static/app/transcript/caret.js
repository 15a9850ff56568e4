/** Where one writes within an element, in letters of its text. */

/** Letters of the text before the caret. @param {HTMLElement} said */
export function caret(said) {
  const chosen = getSelection();
  if (!chosen?.rangeCount || !said.contains(chosen.focusNode)) return 0;
  const range = document.createRange();
  range.selectNodeContents(said);
  range.setEnd(chosen.getRangeAt(0).startContainer, chosen.getRangeAt(0).startOffset);
  const whole = said.textContent ?? "";
  return Math.max(0, range.toString().length - (whole.length - whole.trimStart().length));
}

/**
 * @param {HTMLElement} said
 * @param {number} offset
 */
export function setCaret(said, offset) {
  const range = document.createRange();
  range.selectNodeContents(said);
  range.collapse(false);
  const texts = document.createTreeWalker(said, NodeFilter.SHOW_TEXT);
  for (let left = offset; texts.nextNode(); ) {
    const length = texts.currentNode.textContent?.length ?? 0;
    if (left <= length) {
      range.setStart(texts.currentNode, left);
      range.collapse(true);
      break;
    }
    left -= length;
  }
  getSelection()?.removeAllRanges();
  getSelection()?.addRange(range);
}
