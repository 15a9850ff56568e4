/** To come. */

/**
 * @typedef {object} Room
 * @property {import("./model.js").Transcript} transcript
 * @property {import("./list.js").SegmentList} list
 * @property {import("./player.js").Player} player
 * @property {HTMLElement} tools
 * @property {import("../core/api.js").Schemas["JobBody"]} job
 * @property {AbortSignal} signal
 */

/** @param {Room} _room */
export function startEditing(_room) {}
