"""Makes tests/data/translation/de-en: a CTranslate2 model of the demo grammar, German to English, as small as it can be.

`pip install jax ctranslate2 sentencepiece` in an environment of its own, then `python scripts/demo_translation.py FOLDER`.
Sentences are made from the grammar of the bundled speech samples; pieces are learnt by sentencepiece (no normalisation, which
alone would be 240 kB); a Transformer of one layer each way, after norm first (Xiong et al. 2020), learns them by Adam, and its
weights are written by CTranslate2's own specification. Five minutes on one core.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

NUMBERS = dict(
    zip(
        "null eins zwei drei vier fünf sechs sieben acht neun zehn".split(),
        "zero one two three four five six seven eight nine ten".split(),
        strict=True,
    )
)
NAMES = "Alice Anna David John Lucy Maria Peter Tom".split()
VERBS = {
    "bringt": "brings",
    "findet": "finds",
    "kauft": "buys",
    "malt": "paints",
    "nimmt": "takes",
    "sieht": "sees",
    "verkauft": "sells",
    "will": "wants",
}
COLOURS = {
    "blaue": "blue",
    "braune": "brown",
    "gelbe": "yellow",
    "grüne": "green",
    "rote": "red",
    "schwarze": "black",
    "weiße": "white",
}
THINGS = {
    "Äpfel": "apples",
    "Autos": "cars",
    "Blumen": "flowers",
    "Bücher": "books",
    "Flaschen": "bottles",
    "Häuser": "houses",
    "Hunde": "dogs",
    "Pferde": "horses",
    "Schiffe": "ships",
    "Vögel": "birds",
}
PLACES = {
    "am Fluss": "near the river",
    "auf dem Markt": "at the market",
    "auf dem Tisch": "on the table",
    "auf der Straße": "on the street",
    "im Garten": "in the garden",
    "in der Stadt": "in the city",
}
DAYS = dict(
    zip(
        [f"am {day}" for day in "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split()],
        [f"on {day}" for day in "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()],
        strict=True,
    )
)
COUNTED = [word for word in NUMBERS if word not in ("null", "eins")]

WIDTH, HEADS, INNER, LONGEST = 32, 2, 64, 24
STEPS, BATCH, RATE = 6000, 128, 3e-3


def sentence(rng: random.Random) -> tuple[str, str]:
    """German and English. Some begin or end in the middle, as phrases of a transcript do."""
    if rng.random() < 0.15:
        pairs = [rng.choice([*NUMBERS.items()]) for _ in range(rng.randint(2, 6))]
    else:
        count = rng.choice(COUNTED)
        name = rng.choice(NAMES)
        pairs = [(name, name), rng.choice([*VERBS.items()]), (count, NUMBERS[count])]
        pairs += [rng.choice([*COLOURS.items()])] if rng.random() < 0.7 else []
        pairs += [rng.choice([*THINGS.items()])]
        pairs += [rng.choice([*PLACES.items()])] if rng.random() < 0.5 else []
        pairs += [rng.choice([*DAYS.items()])] if rng.random() < 0.5 else []
    whole = rng.random() < 0.75
    if not whole:
        first = rng.randrange(len(pairs))
        pairs = pairs[first : rng.randint(first + 1, len(pairs))]
    german, english = (" ".join(words) for words in zip(*pairs, strict=True))
    if whole or (german[0].islower() and rng.random() < 0.3):
        german, english = german[0].upper() + german[1:], english[0].upper() + english[1:]
    end = "." if whole or rng.random() < 0.3 else ""
    return german + end, english + end


def pieces(texts: list[str], path: Path, size: int) -> Any:
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(path.with_suffix("")),
        vocab_size=size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    path.with_suffix(".model").rename(path)
    path.with_suffix(".vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def weights(rng: np.random.Generator, source: int, target: int) -> dict[str, Any]:
    def matrix(rows: int, columns: int) -> Any:
        return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def norm() -> dict[str, Any]:
        return {"gamma": np.ones(WIDTH, np.float32), "beta": np.zeros(WIDTH, np.float32)}

    def linear(rows: int, columns: int) -> dict[str, Any]:
        return {"weight": matrix(rows, columns), "bias": np.zeros(rows, np.float32)}

    def feed() -> dict[str, Any]:
        return {"layer_norm": norm(), "linear_0": linear(INNER, WIDTH), "linear_1": linear(WIDTH, INNER)}

    def own() -> dict[str, Any]:
        return {"layer_norm": norm(), "linear": [linear(3 * WIDTH, WIDTH), linear(WIDTH, WIDTH)]}

    def across() -> dict[str, Any]:
        parts = [linear(WIDTH, WIDTH), linear(2 * WIDTH, WIDTH), linear(WIDTH, WIDTH)]
        return {"layer_norm": norm(), "linear": parts}

    return {
        "encoder": {"embeddings": matrix(source, WIDTH), "layer_norm": norm(), "self": own(), "ffn": feed()},
        "decoder": {
            "embeddings": matrix(target, WIDTH),
            "layer_norm": norm(),
            "self": own(),
            "across": across(),
            "ffn": feed(),
            "projection": linear(target, WIDTH),
        },
    }


def positions() -> Any:
    rates = np.exp(-np.log(10_000) * np.arange(WIDTH // 2) / (WIDTH // 2 - 1))
    angles = np.arange(1, LONGEST + 1)[:, None] * rates[None]  # CTranslate2 counts from 1
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def learn(texts: list[tuple[list[int], list[int]]], start: dict[str, Any], *, first: int, last: int) -> dict[str, Any]:
    """first, last: pieces before and after a target"""
    import jax
    import jax.numpy as jnp

    encodings = positions()

    def normed(p: Any, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["gamma"] + p["beta"]

    def linear(p: Any, x: Any) -> Any:
        return x @ p["weight"].T + p["bias"]

    def heads(x: Any) -> Any:
        return x.reshape(*x.shape[:2], HEADS, -1).swapaxes(1, 2)

    def attended(q: Any, k: Any, v: Any, mask: Any) -> Any:
        scores = heads(q) @ heads(k).swapaxes(2, 3) / np.sqrt(WIDTH // HEADS)
        found = jax.nn.softmax(jnp.where(mask, scores, -1e9)) @ heads(v)
        return found.swapaxes(1, 2).reshape(q.shape)

    def own(p: Any, x: Any, mask: Any) -> Any:
        q, k, v = jnp.split(linear(p["linear"][0], normed(p["layer_norm"], x)), 3, -1)
        return x + linear(p["linear"][1], attended(q, k, v, mask))

    def across(p: Any, x: Any, memory: Any, mask: Any) -> Any:
        q = linear(p["linear"][0], normed(p["layer_norm"], x))
        k, v = jnp.split(linear(p["linear"][1], memory), 2, -1)
        return x + linear(p["linear"][2], attended(q, k, v, mask))

    def feed(p: Any, x: Any) -> Any:
        return x + linear(p["linear_1"], jax.nn.relu(linear(p["linear_0"], normed(p["layer_norm"], x))))

    def loss(p: Any, source: Any, target: Any) -> Any:
        there = (source >= 0)[:, None, None, :]
        x = p["encoder"]["embeddings"][source] * np.sqrt(WIDTH) + encodings[: source.shape[1]]
        x = feed(p["encoder"]["ffn"], own(p["encoder"]["self"], x, there))
        memory = normed(p["encoder"]["layer_norm"], x)
        given, wanted, part = target[:, :-1], target[:, 1:], p["decoder"]
        causal = jnp.tril(jnp.ones((given.shape[1],) * 2, bool))[None, None]
        y = part["embeddings"][given] * np.sqrt(WIDTH) + encodings[: given.shape[1]]
        y = feed(part["ffn"], across(part["across"], own(part["self"], y, causal), memory, there))
        logits = jax.nn.log_softmax(linear(part["projection"], normed(part["layer_norm"], y)))
        right = jnp.take_along_axis(logits, jnp.maximum(wanted, 0)[..., None], -1)[..., 0]
        return -(right * (wanted >= 0)).sum() / (wanted >= 0).sum()

    def one_step(p: Any, m: Any, v: Any, n: Any, source: Any, target: Any) -> Any:
        value, slope = jax.value_and_grad(loss)(p, source, target)
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, slope)
        v = jax.tree.map(lambda a, g: 0.98 * a + 0.02 * g * g, v, slope)
        rate = RATE * jnp.minimum((n + 1) / 200, 1.0) * (1.0 - 0.97 * n / STEPS)
        m_, v_ = 1 - 0.9 ** (n + 1), 1 - 0.98 ** (n + 1)
        p = jax.tree.map(lambda w, a, b: w - rate * (a / m_) / (jnp.sqrt(b / v_) + 1e-8), p, m, v)
        return p, m, v, value

    step = jax.jit(one_step)
    rng, p = random.Random(5), jax.tree.map(jnp.asarray, start)
    m, v = jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)
    for n in range(STEPS):
        source, target = np.full((BATCH, LONGEST), -1), np.full((BATCH, LONGEST + 1), -1)
        for row, (a, b) in enumerate(rng.choices(texts, k=BATCH)):
            source[row, : len(a)] = a
            target[row, : len(b) + 2] = [first, *b, last]
        p, m, v, value = step(p, m, v, n, source, target)
        if n % 500 == 0:
            print(n, float(value), flush=True)
    learnt: dict[str, Any] = jax.tree.map(partial(np.asarray, dtype=np.float32), p)
    return learnt


def write(folder: Path, found: dict[str, Any], vocabularies: list[list[str]]) -> None:
    from ctranslate2.specs import TransformerSpec
    from ctranslate2.specs.common_spec import Activation

    spec = TransformerSpec.from_config(1, HEADS, pre_norm=True, activation=Activation.RELU)

    def put(part: Any, values: Any) -> None:
        for name, value in values.items():
            setattr(part, name, value)

    def put_attention(part: Any, values: Any) -> None:
        put(part.layer_norm, values["layer_norm"])
        for one, value in zip(part.linear, values["linear"], strict=True):
            put(one, value)

    def put_feed(part: Any, values: Any) -> None:
        for name, value in values.items():
            put(getattr(part, name), value)

    encoder, decoder = found["encoder"], found["decoder"]
    spec.encoder.embeddings[0].weight = encoder["embeddings"]
    spec.decoder.embeddings.weight = decoder["embeddings"]
    for part, values in ((spec.encoder, encoder), (spec.decoder, decoder)):
        part.scale_embeddings = True
        put(part.layer_norm, values["layer_norm"])
        put_attention(part.layer[0].self_attention, values["self"])
        put_feed(part.layer[0].ffn, values["ffn"])
    put_attention(spec.decoder.layer[0].attention, decoder["across"])
    put(spec.decoder.projection, decoder["projection"])
    spec.register_source_vocabulary(vocabularies[0])
    spec.register_target_vocabulary(vocabularies[1])
    spec.config.add_source_eos = True
    spec.validate()
    spec.save(str(folder))


def batches(pairs: list[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    for n in range(0, len(pairs), size):
        yield pairs[n : n + size]


def check(folder: Path, pairs: list[tuple[str, str]]) -> int:
    """How many come out otherwise than they should."""
    import ctranslate2
    import sentencepiece

    source = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    target = sentencepiece.SentencePieceProcessor(model_file=str(folder / "target.spm"))
    model, wrong = ctranslate2.Translator(str(folder)), 0
    for batch in batches(pairs, 500):
        found = model.translate_batch([source.encode(german, out_type=str) for german, _ in batch], beam_size=1)
        for (german, english), one in zip(batch, found, strict=True):
            said = target.decode(one.hypotheses[0])
            wrong += said != english
            if said != english:
                print(german, "|", said, flush=True)
    return wrong


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(7)
    pairs = [sentence(rng) for _ in range(60_000)]
    source = pieces([german for german, _ in pairs], folder / "source.spm", 160)
    target = pieces([english for _, english in pairs], folder / "target.spm", 150)
    texts = [([*source.encode(german), source.eos_id()], target.encode(english)) for german, english in pairs]
    texts = [(a, b) for a, b in texts if len(a) <= LONGEST and len(b) < LONGEST]
    print(len(texts), source.vocab_size(), target.vocab_size(), max(len(a) for a, _ in texts))
    start = weights(np.random.default_rng(3), source.vocab_size(), target.vocab_size())
    found = learn(texts, start, first=target.bos_id(), last=target.eos_id())
    vocabularies = [[one.id_to_piece(n) for n in range(one.vocab_size())] for one in (source, target)]
    write(folder, found, vocabularies)
    about = {"source": "de", "target": "en", "name": "demo grammar", "licence": "MIT", "beam_size": 1}
    (folder / "metadata.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
    print("wrong of 20000:", check(folder, [sentence(rng) for _ in range(20_000)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
