/** A stream to the service that outlives its connection: what is not acked is kept, and sent again. */

import { BASE } from "../core/api.js";

/** @typedef {{ type: string } & Record<string, any>} Message as docs/reference/live.md has them */

const KEPT_SECONDS = 60;
/** How long the service keeps a stream whose client is gone, less what a connection takes. */
const PATIENCE = 28;
/** So many connections in a row that break before anything more is acked are no accident. */
const MOST_BREAKS = 5;
/** Closed with these: come again, here or later. */
const AGAIN = [1012, 1013];

/** Tells `message` (each of the service's, in `detail`), `lost` and, at the end, `closed`. */
export class Stream extends EventTarget {
  /** @type {Record<string, unknown>} */
  #start;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {{ from: number, samples: Int16Array<ArrayBuffer> }[]} */
  #kept = [];
  #next = 0; // number of the sample that comes next
  #acked = 0;
  #ready = false;
  #ending = false;
  #session = "";
  #lost = 0; // since when, in milliseconds
  #breaks = 0;
  /** @type {Message | null} why the connection is being closed */
  #failure = null;

  /** @param {Record<string, unknown>} options of the stream, with its `sample_rate` */
  constructor(options) {
    super();
    this.#start = { type: "start", encoding: "s16le", ...options };
    this.#connect();
  }

  /** @param {Int16Array<ArrayBuffer>} samples */
  send(samples) {
    if (!this.#socket || this.#ending || !samples.length) return;
    this.#kept.push({ from: this.#next, samples });
    this.#next += samples.length;
    if (this.#ready) this.#socket?.send(samples);
    if (this.#next - this.#acked > KEPT_SECONDS * Number(this.#start["sample_rate"])) this.#close("too_long");
  }

  /** Nothing more comes; what is still to be told is told, then `closed`. */
  end() {
    this.#ending = true;
    if (this.#ready) this.#say({ type: "end" });
  }

  #connect() {
    const address = new URL("live", BASE);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = (this.#socket = new WebSocket(address));
    socket.onopen = () => {
      const again = this.#session ? { session: this.#session, from: this.#acked } : {};
      socket.send(JSON.stringify({ ...this.#start, ...again }));
    };
    socket.onmessage = ({ data }) => this.#socket === socket && this.#take(JSON.parse(data));
    socket.onclose = ({ code }) => this.#socket === socket && this.#gone(code);
  }

  /** @param {Message} message */
  #take(message) {
    switch (message.type) {
      case "ready":
        this.#session = message.session;
        this.#ready = true;
        this.#lost = 0;
        this.#forget(message.position ?? 0);
        for (const { from, samples } of this.#kept) this.#socket?.send(samples.subarray(Math.max(0, this.#acked - from)));
        if (this.#ending) this.#say({ type: "end" });
        break;
      case "ack":
        this.#breaks = 0;
        this.#forget(message.position);
        break;
      case "error":
        this.#failure = message;
        return;
      case "end":
        this.#tell("message", message);
        this.#close("");
        return;
    }
    this.#tell("message", message);
  }

  /** @param {number} position */
  #forget(position) {
    this.#acked = Math.max(this.#acked, position);
    while (this.#kept[0] && this.#kept[0].from + this.#kept[0].samples.length <= this.#acked) this.#kept.shift();
  }

  /** @param {number} code that it was closed with */
  #gone(code) {
    const failure = this.#failure;
    if (this.#ready) this.#breaks++;
    this.#ready = false;
    this.#failure = null;
    const now = Date.now();
    const mayGoOn = this.#session && (!failure || failure.resumable || AGAIN.includes(code));
    if (!mayGoOn || this.#breaks > MOST_BREAKS || (this.#lost && now - this.#lost > 1000 * PATIENCE)) {
      if (failure) this.#tell("message", failure);
      return this.#close(failure?.code ?? (this.#session ? "gone" : "no_socket"));
    }
    if (!this.#lost) {
      this.#lost = now;
      this.#tell("lost");
    }
    setTimeout(() => this.#socket && this.#connect(), 500);
  }

  /** @param {Message} message */
  #say(message) {
    this.#socket?.send(JSON.stringify(message));
  }

  /** @param {string} why "": all is well */
  #close(why) {
    const socket = this.#socket;
    if (socket === null) return;
    this.#socket = null;
    this.#ready = false;
    this.#kept = [];
    socket.close();
    this.#tell("closed", { type: "closed", why });
  }

  /** @param {string} name @param {Message} [detail] */
  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
