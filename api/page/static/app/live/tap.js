/**
 * In the browser's own thread for sound: samples as they come, as 16-bit numbers of one channel, in pieces of a tenth of a second.
 * Any message asks for what is left of a piece, and is answered with null: that was all.
 */

class Tap extends AudioWorkletProcessor {
  #piece = new Int16Array(Math.round(sampleRate / 10));
  #filled = 0;
  #over = false;

  constructor() {
    super();
    this.port.onmessage = () => {
      this.#over = true;
      this.port.postMessage(this.#piece.slice(0, this.#filled));
      this.port.postMessage(null);
    };
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    if (this.#over) return false;
    const channels = inputs[0] ?? [];
    const [first] = channels;
    if (first === undefined) return true; // nothing is connected yet
    for (let n = 0; n < first.length; n++) {
      let sum = 0;
      for (const channel of channels) sum += channel[n] ?? 0;
      const value = Math.max(-1, Math.min(1, sum / channels.length));
      this.#piece[this.#filled++] = Math.round(value * (value < 0 ? 32768 : 32767));
      if (this.#filled === this.#piece.length) {
        this.port.postMessage(this.#piece, [this.#piece.buffer]);
        this.#piece = new Int16Array(Math.round(sampleRate / 10));
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("tap", Tap);
