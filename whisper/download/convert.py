"""A CTranslate2 float16 Whisper model to the ggml file that whisper.cpp publishes, byte for byte.

That is possible because OpenAI released float16 weights: what others hold as float32 and CTranslate2 rounds to float16
again is what it was. Layout and types: whisper.cpp, models/convert-pt-to-ggml.py; the order of the tensors is that of the
released checkpoints. CTranslate2 has query, key and value in one array (python/ctranslate2/converters/transformers.py).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.errors import ModelInvalid
from whisper.download.ct2 import FLOAT16, Ct2File
from whisper.download.part import Writer
from whisper.models.ggml import F16, F32, HEADER, MAGIC, GgmlReader, packed_filters, packed_head, packed_vocabulary

_TOKENS = 50_257
"""Ordinary tokens of every Whisper vocabulary; whisper.cpp knows the special ones by itself."""

Row = tuple[str, str, int | None]
"""OpenAI's name, CTranslate2's, and which part of the width of the model it is there (None = all)."""


def convert(source: BinaryIO, tokenizer: bytes, filters: Path, out: Writer) -> None:
    """Write the ggml file. Memory: the index, the vocabulary, and a quarter of a MiB of weights.

    source: the CTranslate2 model, seekable
    tokenizer: its `tokenizer.json` (Hugging Face)
    filters: a ggml model whose mel filters are taken over; those of all models with 80 mels are the same

    Raises ModelInvalid, and what `out.write` raises.
    """
    model = Ct2File(source)
    vocab, width = _shape(model, "decoder/embeddings/weight", 2)
    audio, text = (_shape(model, f"{side}/position_encodings/encodings", 2)[0] for side in ("encoder", "decoder"))
    heads = [model.scalar(f"{side}/num_heads") for side in ("encoder", "decoder")]
    layers = [_layers(model, side) for side in ("encoder", "decoder")]
    mels = _shape(model, "encoder/conv1/weight", 3)[1]
    out.write(HEADER.pack(MAGIC, vocab, audio, width, heads[0], layers[0], text, width, heads[1], layers[1], mels, F16))
    out.write(_mel_filters(filters, mels))
    out.write(_vocabulary(tokenizer))
    for name, theirs, part in _tensors(*layers):
        _tensor(model, width, name, theirs, part, out)


def _tensor(model: Ct2File, width: int, name: str, theirs: str, part: int | None, out: Writer) -> None:
    variable = model[theirs]
    if variable.type != FLOAT16 or not variable.bytes:
        raise ModelInvalid(f"{theirs} is no array of float16")
    shape, first, size = variable.shape, 0, variable.bytes
    if part is not None:
        size = variable.bytes // shape[0] * width
        shape, first = (width, *shape[1:]), part * size
    if re.fullmatch(r"encoder\.conv\d\.bias", name):
        shape = (*shape, 1)
    exact = len(shape) == 1 or name.endswith(("positional_embedding", ".bias"))
    out.write(packed_head(name, shape, F32 if exact else F16))
    for block in model.blocks(theirs, first, size):
        out.write(_widened(block) if exact else block)


def _widened(block: bytes) -> bytes:
    """float16 to float32, without numpy: these are the few small tensors, and the supervisor would keep it for good."""
    count = len(block) // 2
    return struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", block))


def _tensors(encoder_layers: int, decoder_layers: int) -> Iterator[Row]:
    yield "decoder.positional_embedding", "decoder/position_encodings/encodings", None
    yield "encoder.positional_embedding", "encoder/position_encodings/encodings", None
    yield "decoder.token_embedding.weight", "decoder/embeddings/weight", None
    for i in range(decoder_layers):
        yield from _block(f"decoder.blocks.{i}", f"decoder/layer_{i}")
        yield from _norm(f"decoder.blocks.{i}.cross_attn_ln", f"decoder/layer_{i}/attention/layer_norm")
        yield from _attention(
            f"decoder.blocks.{i}.cross_attn", f"decoder/layer_{i}/attention", ("linear_0", "linear_1")
        )
    yield from _norm("decoder.ln", "decoder/layer_norm")
    for conv in ("conv1", "conv2"):
        yield from _linear(f"encoder.{conv}", f"encoder/{conv}")
    for i in range(encoder_layers):
        yield from _block(f"encoder.blocks.{i}", f"encoder/layer_{i}")
    yield from _norm("encoder.ln_post", "encoder/layer_norm")


def _block(ours: str, theirs: str) -> Iterator[Row]:
    yield from _norm(f"{ours}.mlp_ln", f"{theirs}/ffn/layer_norm")
    yield from _linear(f"{ours}.mlp.0", f"{theirs}/ffn/linear_0")
    yield from _linear(f"{ours}.mlp.2", f"{theirs}/ffn/linear_1")
    yield from _norm(f"{ours}.attn_ln", f"{theirs}/self_attention/layer_norm")
    yield from _attention(f"{ours}.attn", f"{theirs}/self_attention", ("linear_0",))


def _norm(ours: str, theirs: str) -> Iterator[Row]:
    yield f"{ours}.weight", f"{theirs}/gamma", None
    yield f"{ours}.bias", f"{theirs}/beta", None


def _linear(ours: str, theirs: str, part: int | None = None, *, bias: bool = True) -> Iterator[Row]:
    yield f"{ours}.weight", f"{theirs}/weight", part
    if bias:
        yield f"{ours}.bias", f"{theirs}/bias", part


def _attention(ours: str, theirs: str, joined: tuple[str, ...]) -> Iterator[Row]:
    """joined: one array of query, key and value, or one of the query and one of the two others."""
    places = [(joined[0], 0), *((joined[-1], i + 1 - len(joined)) for i in (1, 2))]
    for name, (array, part) in zip(("query", "key", "value"), places, strict=True):
        yield from _linear(
            f"{ours}.{name}", f"{theirs}/{array}", part, bias=name != "key"
        )  # keys have none (zeros there)
    yield from _linear(f"{ours}.out", f"{theirs}/linear_{len(joined)}")


def _shape(model: Ct2File, name: str, dimensions: int) -> tuple[int, ...]:
    shape = model[name].shape
    if len(shape) != dimensions or 0 in shape:
        raise ModelInvalid(f"{name} has the shape {shape}")
    return shape


def _layers(model: Ct2File, side: str) -> int:
    found = (re.match(rf"{side}/layer_(\d+)/", name) for name in model.variables)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _mel_filters(path: Path, mels: int) -> bytes:
    """With their shape. The published models have 0.0 where openai-whisper since 20231106 has one -0.0."""
    with path.open("rb") as file:
        reader = GgmlReader(file)
        reader.header()
        rows, bins, values = reader.filters()
        if rows != mels:
            raise ModelInvalid(f"there are filters for {rows} mels, not for {mels}")
        form = f"<{rows * bins}f"
        return packed_filters(rows, bins, struct.pack(form, *(value + 0.0 for value in struct.unpack(form, values))))


def _vocabulary(tokenizer: bytes) -> bytes:
    """The bytes of each ordinary token, by number. In the JSON they are spelled as `bytes_to_unicode` of GPT-2 does
    (openai/gpt-2, src/encoder.py): printable ones as they are in Latin-1, the others as the characters from 256 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    spelling = {chr(byte): byte for byte in plain}
    spelling |= {chr(256 + i): byte for i, byte in enumerate(sorted(set(range(256)) - set(plain)))}
    try:
        numbered = {number: text for text, number in json.loads(tokenizer)["model"]["vocab"].items()}
        tokens = [bytes(spelling[letter] for letter in numbered[number]) for number in range(_TOKENS)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelInvalid("the tokenizer.json of the CTranslate2 model is no vocabulary of Whisper") from error
    return packed_vocabulary(tokens)
