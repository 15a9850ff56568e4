"""The alignment inside libwhisper: same text with and without, times where they belong, nothing where it cannot be sure."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from tests.whisper.engine_parts import MODEL, QUICK, WHEEL, chunk
from whisper.library.alignment import TOP_LAYER, Alignment, CannotAlign, alignment_of, heads_of
from whisper.library.inference import Inference, Samples
from whisper.library.libwhisper import ContextParams, LibWhisper

LIB = LibWhisper(WHEEL.directory)


@pytest.fixture(scope="module")
def context() -> int:
    return LIB.load_model(MODEL)


def heard(
    context: int, alignment: Alignment | None, *, threads: int = 1, seed: int = 3, **options: Any
) -> dict[str, Any]:
    pcm, _ = chunk(seed)
    samples = Samples(len(pcm))
    ctypes.memmove(samples.floats, (pcm / np.float32(32768)).astype(np.float32).tobytes(), 4 * len(pcm))
    return Inference(LIB, context, threads=threads, alignment=alignment).transcribe(samples, QUICK | options)


def times(reply: dict[str, Any]) -> list[tuple[str, float, float]]:
    return [(w["word"], w["start"], w["end"]) for s in reply["segments"] for w in s["words"]]


def said(reply: dict[str, Any]) -> Any:
    """All that does not depend on word times."""
    return reply["no_speech_prob"], [(s["text"], s["avg_logprob"]) for s in reply["segments"]]


@pytest.mark.parametrize(
    "options", [{"fit_context": False}, {}, {"beam_size": 3}, {"temperature": 0.6}, {"prompt": "Lucy"}]
)
def test_text_and_figures_are_the_same_with_words_aligned(context: int, options: dict[str, Any]) -> None:
    alignment = Alignment(LIB, context, heads=TOP_LAYER)
    plain = heard(context, alignment, **options)
    aligned = heard(context, alignment, word_timestamps=True, **options)
    shared_out = heard(context, None, word_timestamps=True, **options)
    assert said(plain) == said(aligned) == said(shared_out) == said(heard(context, alignment, **options))
    exact, by_length = times(aligned), times(shared_out)
    assert exact != by_length and [word for word, *_ in exact] == [word for word, *_ in by_length]
    moments = [moment for _, *span in exact for moment in span]
    assert moments == sorted(moments)


def test_times_do_not_depend_on_threads_or_on_chunks_before(context: int) -> None:
    alignment = Alignment(LIB, context, heads=TOP_LAYER)
    first = times(heard(context, alignment, word_timestamps=True))
    heard(context, alignment, word_timestamps=True, seed=4)
    heard(context, alignment, seed=5)
    assert times(heard(context, alignment, word_timestamps=True, threads=2)) == first
    assert times(heard(context, Alignment(LIB, context, heads=TOP_LAYER), word_timestamps=True)) == first


def test_a_translation_gets_times_by_length(context: int) -> None:
    options = {"word_timestamps": True, "task": "translate"}
    alignment = Alignment(LIB, context, heads=TOP_LAYER)
    assert heard(context, alignment, **options)["segments"] == heard(context, None, **options)["segments"]


def test_a_context_that_is_built_otherwise_is_left_alone() -> None:
    context = LIB.load_model(MODEL)
    ContextParams.from_address(context + 24).dtw_mem_size += 1
    with pytest.raises(CannotAlign, match="somewhere else"):
        Alignment(LIB, context, heads=TOP_LAYER)


def test_a_state_that_is_built_otherwise_is_left_alone(context: int) -> None:
    alignment = Alignment(LIB, context, heads=TOP_LAYER)
    state = alignment.new_state()
    assert state is not None and alignment.caches(state) is not None
    ctypes.c_uint32.from_address(state + 172).value = 1504
    assert alignment.caches(state) is None
    ctypes.c_uint32.from_address(state + 172).value = 1536
    LIB.f.free_state(state)


@pytest.mark.parametrize(
    ("architecture", "name", "heads"),
    [
        ((4, 384, 51_864), "tiny.en-q5_1", 3),
        ((6, 512, 51_865), "base", 6),
        ((24, 1024, 51_864), "mine", 9),
        ((32, 1280, 51_865), "large-v1", 11),
        ((32, 1280, 51_865), "large-v2-q5_0", 12),
        ((32, 1280, 51_865), "mine", TOP_LAYER),
        ((32, 1280, 51_866), "large-v3", 13),
        ((4, 1280, 51_866), "large-v3-turbo-q8_0", 14),
        ((2, 1280, 51_866), "distilled", TOP_LAYER),
        ((4, 128, 51_865), "demo", 0),
        ((40, 2048, 51_866), "huge", 0),
    ],
)
def test_heads_by_architecture(architecture: tuple[int, int, int], name: str, heads: int) -> None:
    assert heads_of(architecture, name) == heads


def test_the_demo_model_is_better_off_without(context: int) -> None:
    assert alignment_of(LIB, context, name="demo") is None
