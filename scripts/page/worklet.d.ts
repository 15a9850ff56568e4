/** What there is in an AudioWorklet besides (Web Audio API, 1.32), of which TypeScript's library for pages knows nothing. */

declare const sampleRate: number;

declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;
