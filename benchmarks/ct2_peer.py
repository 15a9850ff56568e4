"""CTranslate2 on one model, in an interpreter of its own (benchmarks.ct2_setup), started by path: imports nothing of ours.

`ct2_peer.py convert WEIGHTS.npz FOLDER` makes an int8 model of the tensors (names and shapes as in the ggml file).
`ct2_peer.py run JOB` transcribes windows as faster-whisper does when it batches: features by numpy, greedy.

JOB is JSON: model (folder), audio (file of int16 at 16 kHz), windows [[start, end]] in samples, filters (.npy, mel x
bins), language (token), inter (workers), intra (threads of each), batch (windows at a time), parent (process id).
It prints `ready` once the model is loaded and warm, starts at the first line on stdin, prints {"wall", "tokens"} and
stays until stdin ends.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE, WINDOW, HOP, FRAMES = 16_000, 400, 160, 3000
"""Whisper's front end (openai/whisper, audio.py): 25 ms windows every 10 ms, 30 s."""

END_OF_TEXT, START_OF_TRANSCRIPT, FIRST_LANGUAGE, TRANSCRIBE = 50257, 50258, 50259, 50359
LANGUAGES = 99
TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")

Weights = dict[str, NDArray[np.float32]]
Spans = list[tuple[int, int]]


def log_mel(pcm: NDArray[np.int16], filters: NDArray[np.float32]) -> NDArray[np.float32]:
    """(mel, 3000) of at most 30 s, what is missing being silence, which is filled in without being computed."""
    samples = np.pad(pcm.astype(np.float32) / 32768, (WINDOW // 2, 0), mode="reflect")
    heard = min(FRAMES, -(-(len(pcm) + WINDOW // 2) // HOP))
    samples = np.pad(samples, (0, max(0, heard * HOP + WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:heard]
    hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    power = np.abs(np.fft.rfft(frames * hann, axis=-1).astype(np.complex64)) ** 2
    loud = np.log10(np.maximum(filters @ power.T, 1e-10))
    features = np.full((len(filters), FRAMES), -10.0, np.float32)
    features[:, :heard] = loud
    return np.asarray((np.maximum(features, features.max() - 8.0) + 4.0) / 4.0, np.float32)


def batches(windows: Spans, size: int, workers: int) -> list[Spans]:
    """Even batches of at most `size`, as many as keep all workers busy."""
    count = -(-len(windows) // size)
    count = min(len(windows), -(-count // workers) * workers)
    least, more = divmod(len(windows), count)
    ends = np.cumsum([least + (n < more) for n in range(count)]).tolist()
    return [windows[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def convert(source: Path, target: Path) -> None:
    """The same network as a CTranslate2 model with int8 weights (ctranslate2.specs.whisper_spec; names: convert-pt-to-ggml.py)."""
    from ctranslate2.specs import whisper_spec

    with np.load(source) as stored:
        weights: Weights = {name: stored[name].astype(np.float32) for name in stored.files}
    layers = {
        side: 1 + max(int(name.split(".")[2]) for name in weights if name.startswith(f"{side}.blocks."))
        for side in ("encoder", "decoder")
    }
    heads = weights["encoder.ln_post.bias"].size // 64
    spec = whisper_spec.WhisperSpec(layers["encoder"], heads, layers["decoder"], heads)
    for conv in ("conv1", "conv2"):
        part = getattr(spec.encoder, conv)
        part.weight, part.bias = weights[f"encoder.{conv}.weight"], weights[f"encoder.{conv}.bias"].reshape(-1)
    _norm(spec.encoder.layer_norm, weights, "encoder.ln_post")
    _norm(spec.decoder.layer_norm, weights, "decoder.ln")
    spec.encoder.position_encodings.encodings = weights["encoder.positional_embedding"]
    spec.decoder.position_encodings.encodings = weights["decoder.positional_embedding"]
    spec.decoder.scale_embeddings = False
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = weights["decoder.token_embedding.weight"]
    for side in ("encoder", "decoder"):
        for number, layer in enumerate(getattr(spec, side).layer):
            _layer(layer, weights, f"{side}.blocks.{number}.", cross=side == "decoder")
    spec.register_vocabulary(_vocabulary(len(weights["decoder.token_embedding.weight"])))
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.lang_ids = list(range(FIRST_LANGUAGE, FIRST_LANGUAGE + LANGUAGES))
    spec.validate()
    spec.optimize(quantization="int8")
    target.mkdir(parents=True, exist_ok=True)
    spec.save(str(target))


def _layer(layer: Any, weights: Weights, prefix: str, *, cross: bool) -> None:
    _norm(layer.self_attention.layer_norm, weights, f"{prefix}attn_ln")
    _linear(layer.self_attention.linear[0], weights, *(f"{prefix}attn.{part}" for part in ("query", "key", "value")))
    _linear(layer.self_attention.linear[1], weights, f"{prefix}attn.out")
    if cross:
        _norm(layer.attention.layer_norm, weights, f"{prefix}cross_attn_ln")
        _linear(layer.attention.linear[0], weights, f"{prefix}cross_attn.query")
        _linear(layer.attention.linear[1], weights, f"{prefix}cross_attn.key", f"{prefix}cross_attn.value")
        _linear(layer.attention.linear[2], weights, f"{prefix}cross_attn.out")
    _norm(layer.ffn.layer_norm, weights, f"{prefix}mlp_ln")
    _linear(layer.ffn.linear_0, weights, f"{prefix}mlp.0")
    _linear(layer.ffn.linear_1, weights, f"{prefix}mlp.2")


def _norm(layer: Any, weights: Weights, name: str) -> None:
    layer.gamma, layer.beta = weights[f"{name}.weight"].reshape(-1), weights[f"{name}.bias"].reshape(-1)


def _linear(layer: Any, weights: Weights, *names: str) -> None:
    """Several matrices as one; keys have no bias."""
    layer.weight = np.concatenate([weights[f"{name}.weight"] for name in names])
    layer.bias = np.concatenate(
        [
            weights[f"{name}.bias"].reshape(-1)
            if f"{name}.bias" in weights
            else np.zeros(len(weights[f"{name}.weight"]), np.float32)
            for name in names
        ]
    )


def _vocabulary(size: int) -> list[str]:
    """Names for the tokens: CTranslate2 wants to know the special ones, the others it only counts."""
    names = [f"t{number}" for number in range(END_OF_TEXT)] + ["<|endoftext|>", "<|startoftranscript|>"]
    names += [f"<|language{number}|>" for number in range(LANGUAGES)] + [f"<|{task}|>" for task in TASKS]
    return names + [f"<|{number * 0.02:.2f}|>" for number in range(size - len(names))]


def run(job: dict[str, Any]) -> None:
    import ctranslate2

    model = ctranslate2.models.Whisper(
        job["model"], device="cpu", compute_type="int8", inter_threads=job["inter"], intra_threads=job["intra"]
    )
    pcm, filters = np.fromfile(job["audio"], np.int16), np.load(job["filters"])
    prompt = [
        START_OF_TRANSCRIPT,
        job["language"],
        TRANSCRIBE,
    ]  # with timestamps, as ours: without, this model leaves sentences out

    def decode(windows: Spans) -> list[list[int]]:
        features = np.stack([log_mel(pcm[start:end], filters) for start, end in windows])
        answers = model.generate(ctranslate2.StorageView.from_array(features), [prompt] * len(windows), beam_size=1)
        return [list(answer.sequences_ids[0]) for answer in answers]

    with ThreadPoolExecutor(job["inter"]) as pool:
        list(pool.map(decode, [job["windows"][:1]] * job["inter"]))
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        tokens = [one for part in pool.map(decode, batches(job["windows"], job["batch"], job["inter"])) for one in part]
        wall = time.monotonic() - began
    print(json.dumps({"wall": wall, "tokens": tokens}), flush=True)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> None:
    if sys.argv[1] == "convert":
        convert(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    job = json.loads(sys.argv[2])
    threading.Thread(target=_end_with_parent, args=(job["parent"],), daemon=True).start()
    run(job)
    sys.stdin.read()


if __name__ == "__main__":
    main()
