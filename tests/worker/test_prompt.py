"""What the model is told before each chunk: the job's prompt and vocabulary, as far as there is room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.audio.samples import Pcm
from tests.worker.kit import Kit, talk
from whisper import DEMO_MODEL
from whisper.engine.scripted import ScriptedEngine
from whisper.engine.transcriber import WhisperTranscriber
from whisper.models.tokens import Tokenizer
from whisper.types import Call, ChunkTranscript, TranscribeOptions
from worker.stages.preparation.prompt import TOKENS, Prompt, prompt_of


def by_word(text: str) -> int:
    return len(text.split())


def words(count: int) -> list[str]:
    return [f"w{n}" for n in range(count)]


@pytest.mark.parametrize(
    ("prompt", "vocabulary", "made"),
    [
        (None, ["Anna", "Zyn-Trix", "Café du Monde"], Prompt(text=" Anna, Zyn-Trix, Café du Monde.")),
        ("Of trees.\n", ["Anna"], Prompt(text="Of trees. Anna.")),
        ("Of trees.", [], Prompt(text="Of trees.")),
        (None, [], Prompt(text=None)),
        ("x " * 200, words(24), Prompt(text=("x " * 200).rstrip() + f" {', '.join(words(24))}.")),
        ("x " * 200, words(25), Prompt(text=("x " * 200).rstrip() + f" {', '.join(words(25))}.", cut=True)),
        (None, words(226), Prompt(text=f" {', '.join(words(224))}.", left_out=("w224", "w225"))),
        ("x", ["y " * 225, "z"], Prompt(text="x", left_out=("y " * 225, "z"))),
    ],
)
def test_the_first_words_go_before_the_last_and_all_before_the_prompt(
    prompt: str | None, vocabulary: list[str], made: Prompt
) -> None:
    assert prompt_of(prompt, vocabulary, by_word) == made


class Noting(ScriptedEngine):
    """Remembers the prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[str | None] = []

    def transcribe(self, model: str, pcm: Pcm, options: TranscribeOptions, call: Call = Call()) -> ChunkTranscript:
        self.prompts.append(options.prompt)
        return super().transcribe(model, pcm, options, call)


def test_every_chunk_has_it_and_what_had_no_room_is_told(tmp_path: Path) -> None:
    kit, engine = Kit(tmp_path), Noting()
    kit.parts = replace(kit.parts, transcriber=WhisperTranscriber(engine, kit.parts.transcriber.downloader))
    vocabulary = [f"Żółw Nº{n} 東京" for n in range(40)]
    job = kit.submit(talk(tmp_path, minutes=0.2), prompt="A talk about trees.", vocabulary=vocabulary)
    assert kit.run() == "completed"
    assert len(engine.prompts) >= len(kit.chunks(job)) > 1
    (told,) = set(engine.prompts)
    assert told is not None and told.startswith("A talk about trees. Żółw Nº0 東京, ")
    kept = told.removeprefix("A talk about trees. ").removesuffix(".").split(", ")
    assert kept == vocabulary[: len(kept)] and 0 < len(kept) < 40
    tokens = Tokenizer.of_model(DEMO_MODEL)
    assert (
        tokens.count(f" {', '.join(kept)}.") <= TOKENS < tokens.count(f" {', '.join([*kept, vocabulary[len(kept)]])}.")
    )
    warnings = {one["code"]: one["message"] for one in kit.job(job).warnings}
    assert (
        f"{40 - len(kept)} of 40 words" in warnings["vocabulary_cut"]
        and vocabulary[len(kept)] in warnings["vocabulary_cut"]
    )
    assert "prompt_long" in warnings, "what was left of the room was too little for it"
    assert {one["code"] for one in kit.result(job)["warnings"]} >= {"vocabulary_cut", "prompt_long"}
