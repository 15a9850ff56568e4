/** Sound of a microphone, or of another tab, as samples. */

/** @typedef {"microphone" | "tab"} Source */

/** Whether this browser lets a page listen at all: it does on this machine and over HTTPS only. */
export const canCapture = () => navigator.mediaDevices !== undefined && typeof AudioWorkletNode === "function";
/** A phone has no tabs to listen to. */
export const canCaptureTabs = () => canCapture() && "getDisplayMedia" in navigator.mediaDevices;

/** For the browser to begin; without any sound device some never do. */
const FIRST = 10_000; // milliseconds
/** For the last samples to come, where the browser's thread for sound does not run any more. */
const LAST = 500;

/** The rate that is wanted: what recognition works with, a third of what most devices give. */
const RATE = 16_000;

/**
 * @typedef {object} Capture
 * @property {number} rate samples a second
 * @property {(take: (samples: Int16Array<ArrayBuffer>) => void) => void} listen what was heard until then comes first
 * @property {() => Promise<void>} stop done when all that was heard has been taken; nothing comes after that
 */

/** @param {Source} source */
function ask(source) {
  if (source === "microphone") return navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: false, autoGainControl: true } });
  // browsers give a tab's sound only with its picture, which nobody looks at
  return navigator.mediaDevices.getDisplayMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false }, video: true });
}

/**
 * Begins to listen, after the user has agreed. Throws DOMException: `NotAllowedError`, `NotFoundError` (nothing to listen to), ...
 * @param {Source} source
 * @param {() => void} ended the user has ended it in the browser's own way, or the device is gone
 * @returns {Promise<Capture>}
 */
export async function capture(source, ended) {
  const stream = await ask(source);
  const stopTracks = () => stream.getTracks().forEach((track) => track.stop());
  const [sound] = stream.getAudioTracks();
  if (sound === undefined) {
    stopTracks();
    throw new DOMException("no sound was shared", "NotFoundError");
  }
  try {
    const { context, input } = connect(stream);
    await context.audioWorklet.addModule(new URL("./tap.js", import.meta.url).href);
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 1 });
    input.connect(tap).connect(context.destination); // silent: it is only asked for samples as long as it leads somewhere
    sound.addEventListener("ended", ended);
    await begun(context);
    /** @type {(samples: Int16Array<ArrayBuffer>) => void} */
    let take = () => {};
    /** @type {Promise<void> | undefined} */
    let stopped;
    const stop = async () => {
      sound.removeEventListener("ended", ended);
      await new Promise((done) => {
        tap.port.onmessage = ({ data }) => (data === null ? done(null) : take(data));
        tap.port.postMessage("end");
        setTimeout(done, LAST);
      });
      tap.port.onmessage = null;
      stopTracks();
      await context.close();
    };
    return {
      rate: context.sampleRate,
      listen(given) {
        take = given;
        tap.port.onmessage = ({ data }) => take(data);
      },
      stop: () => (stopped ??= stop()),
    };
  } catch (error) {
    stopTracks();
    throw error;
  }
}

/** @param {AudioContext} context */
function begun(context) {
  const late = () => new DOMException("the browser gives no sound", "NotReadableError");
  return new Promise((done, fail) => {
    setTimeout(() => fail(late()), FIRST);
    context.resume().then(done, fail);
  });
}

/** @param {MediaStream} stream */
function connect(stream) {
  const context = new AudioContext({ sampleRate: RATE });
  try {
    return { context, input: context.createMediaStreamSource(stream) };
  } catch {
    void context.close(); // Firefox does not bring a device's rate to another one: the service does it then
    const own = new AudioContext();
    return { context: own, input: own.createMediaStreamSource(stream) };
  }
}
