"""A CTranslate2 model of Whisper made from a ggml file: the way back of `whisper.download.convert`, written apart from it."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whisper import DEMO_MODEL
from whisper.models.ggml import HEADER, MAGIC, GgmlReader, packed_filters, packed_tensor, packed_vocabulary

_TYPES = {np.dtype("float16"): 4, np.dtype("int16"): 2, np.dtype("float32"): 0}


@dataclass(frozen=True, kw_only=True)
class Made:
    """model, tokenizer: `model.bin`, `tokenizer.json`; ggml: what they are to become again"""

    model: bytes
    tokenizer: bytes
    ggml: bytes


def made(path: Path = DEMO_MODEL) -> Made:
    """From a ggml f16 model, whose float32 values are rounded to what float16 can hold."""
    tensors: dict[str, Any] = {}
    written: dict[str, bytes] = {}
    with path.open("rb") as file:
        reader = GgmlReader(file)
        head, (rows, columns, values), tokens = reader.header(), reader.filters(), reader.vocabulary()
        for name, stored in reader.tensors():
            tensors[name] = stored.astype("<f2")
            written[name] = packed_tensor(name, tensors[name].astype(stored.dtype))
    filters = np.frombuffer(values, "<f4") + np.float32(0)
    ggml = HEADER.pack(MAGIC, *head) + packed_filters(rows, columns, filters.tobytes()) + packed_vocabulary(tokens)
    ggml += b"".join(written[name] for name in sorted(written, key=_place))
    return Made(model=_ct2(_renamed(tensors, heads=(head[3], head[7]))), tokenizer=_tokenizer(tokens), ggml=ggml)


_ORDER = (
    "decoder.positional_embedding encoder.positional_embedding decoder.token_embedding decoder.blocks decoder.ln "
    "encoder.conv1 encoder.conv2 encoder.blocks encoder.ln_post"
).split()
_IN_BLOCK = (
    "mlp_ln mlp.0 mlp.2 attn_ln attn.query attn.key attn.value attn.out "
    "cross_attn_ln cross_attn.query cross_attn.key cross_attn.value cross_attn.out"
).split()


def _place(name: str) -> tuple[int, int, int, bool]:
    """Where a tensor stands in the published files."""
    part = next(i for i, prefix in enumerate(_ORDER) if name == prefix or name.startswith(f"{prefix}."))
    if ".blocks." not in name:
        return part, 0, 0, name.endswith("bias")
    _, _, number, rest = name.split(".", 3)
    return part, int(number), _IN_BLOCK.index(rest.rpartition(".")[0]), name.endswith("bias")


def _renamed(ours: dict[str, Any], *, heads: tuple[int, int]) -> dict[str, Any]:
    theirs: dict[str, Any] = {"decoder/embeddings/weight": ours["decoder.token_embedding.weight"]}
    for side, count in zip(("encoder", "decoder"), heads, strict=True):
        theirs[f"{side}/num_heads"] = np.int16(count)
        theirs[f"{side}/position_encodings/encodings"] = ours[f"{side}.positional_embedding"]
    simple = {
        "mlp_ln": "ffn/layer_norm",
        "mlp.0": "ffn/linear_0",
        "mlp.2": "ffn/linear_1",
        "attn_ln": "self_attention/layer_norm",
        "attn.out": "self_attention/linear_1",
        "cross_attn_ln": "attention/layer_norm",
        "cross_attn.out": "attention/linear_2",
        "cross_attn.query": "attention/linear_0",
    }

    def take(name: str, other: str) -> None:
        norm = name.rpartition(".")[2].startswith("ln") or name.endswith("_ln")
        theirs[f"{other}/{'gamma' if norm else 'weight'}"] = ours[f"{name}.weight"]
        theirs[f"{other}/{'beta' if norm else 'bias'}"] = ours[f"{name}.bias"].reshape(-1)

    def join(name: str, parts: list[str], other: str) -> None:
        weights = [ours[f"{name}.{part}.weight"] for part in parts]
        biases = [ours.get(f"{name}.{part}.bias", np.zeros(len(weights[0]), "<f2")) for part in parts]
        theirs[f"{other}/weight"], theirs[f"{other}/bias"] = np.concatenate(weights), np.concatenate(biases)

    take("encoder.conv1", "encoder/conv1")
    take("encoder.conv2", "encoder/conv2")
    take("encoder.ln_post", "encoder/layer_norm")
    take("decoder.ln", "decoder/layer_norm")
    for block in sorted({name.rpartition(".mlp_ln")[0] for name in ours if ".mlp_ln." in name}):
        side, _, number = block.split(".")
        for name, other in simple.items():
            if f"{block}.{name}.weight" in ours:
                take(f"{block}.{name}", f"{side}/layer_{number}/{other}")
        join(f"{block}.attn", ["query", "key", "value"], f"{side}/layer_{number}/self_attention/linear_0")
        if side == "decoder":
            join(f"{block}.cross_attn", ["key", "value"], f"{side}/layer_{number}/attention/linear_1")
    return theirs


def _ct2(variables: dict[str, Any]) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<2I", 3, len(variables))]
    for name, values in sorted(variables.items()):
        array = np.asarray(values)
        out += [text(name), struct.pack("<B", array.ndim), struct.pack(f"<{array.ndim}I", *array.shape)]
        out += [struct.pack("<BI", _TYPES[array.dtype], array.nbytes), array.tobytes()]
    out += [struct.pack("<I", 1), text("decoder/projection/weight"), text("decoder/embeddings/weight")]
    return b"".join(out)


def _tokenizer(tokens: list[bytes]) -> bytes:
    """Spelled as GPT-2's tokenizer does: what cannot be printed, or is a blank, is a letter from 256 on."""
    hidden = [byte for byte in range(256) if not (33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174)]
    letters = {byte: chr(256 + hidden.index(byte)) if byte in hidden else chr(byte) for byte in range(256)}
    vocab = {"".join(letters[byte] for byte in token): number for number, token in enumerate(tokens)}
    vocab["<|endoftext|>"] = len(tokens)
    return json.dumps({"model": {"vocab": vocab}}).encode()
