// OpenAI's client for Node, as its users write it: node client.mjs ADDRESS FILE KEY. Prints what came as JSON.
import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const [address, path, key] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: key, maxRetries: 0 });
const file = () => fs.createReadStream(path);
const ask = (options) => client.audio.transcriptions.create({ model: "whisper-1", file: file(), ...options });

async function refusal(promise) {
  try {
    await promise;
    return "not refused";
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, code: error.code, param: error.param };
  }
}

const found = {};
found.json = await ask({ language: "en", prompt: "Words" });
for (const shape of ["text", "srt", "vtt", "verbose_json"]) found[shape] = await ask({ response_format: shape });
found.words = await ask({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] });
found.logprobs = await ask({ include: ["logprobs"] });
found.deltas = "";
for await (const event of await ask({ stream: true })) {
  if (event.type === "transcript.text.delta") found.deltas += event.delta;
  if (event.type === "transcript.text.done") found.done = event.text;
}
found.translation = await client.audio.translations.create({ model: "whisper-1", file: file() });
found.models = [];
for await (const model of client.models.list()) found.models.push(model.id);
found.model = (await client.models.retrieve("base")).id;
found.refusals = {
  model: await refusal(ask({ model: "nonsense" })),
  language: await refusal(ask({ language: "klingon" })),
  empty: await refusal(ask({ file: await toFile(Buffer.alloc(0), "empty.wav") })),
  speakers: await refusal(ask({ known_speaker_names: ["Anna"] })),
  missing: await refusal(client.models.retrieve("gpt-5")),
  key: await refusal(new OpenAI({ baseURL: `${address}/v1`, apiKey: "wrong", maxRetries: 0 }).models.list()),
};
console.log(JSON.stringify(found));
