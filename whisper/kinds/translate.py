"""Text from one language to another by CTranslate2, in threads of one process."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import EngineUnavailable, ModelInvalid
from core.transcript.languages import joined
from whisper.models.translation import TranslationModel
from whisper.wire.kind import BadInput, Model, Op, Reply, Request, Setup

SECONDS = 120.0
"""Of the first request."""
MOST_BYTES = 4 << 20
"""Of texts, and of what comes of them."""

_BATCH = 16
"""Sentences at once; whether anybody still waits is looked at in between."""
_MOST_PIECES = 200
"""Of what is translated at once: CTranslate2 would cut off what goes beyond 1024, and models know no more than 512."""
_THREADS = 4

_END_OF_SENTENCE = re.compile(r"(?<=[.!?…])[\"'“”‘’»)\]]*\s+(?=[^\sa-z])|(?<=[。！？])(?=\S)")  # noqa: RUF001
_NO_END = re.compile(r"(?:^|[\s(])(?:\w|\d+|Dr|Mr|Mrs|Ms|Prof|St|No|Nr)\.\Z")
"""A full stop that ends no sentence: Dr., 3., z. B."""


class TranslateKind:
    """Files: as `TranslationModel.files` has them. Devices: the CPU.

    The payload is a JSON array of texts in UTF-8, and so is the reply's, of their translations.
    """

    name = "translate"
    ops: Mapping[str, Op] = {"translate": Op(payload=MOST_BYTES, reply_payload=4 * MOST_BYTES, seconds=SECONDS)}
    forks = False  # CTranslate2 has threads of its own

    def worker_mb(self, files: Sequence[Path]) -> int:
        return 0

    def prepare(self, files: Sequence[Path], setup: Setup) -> dict[str, str]:
        return {}

    def load(self, files: Sequence[Path], device: str, prepared: Mapping[str, str], *, debug: bool) -> Model:
        return _Translate(TranslationModel.read(files[0].parent))


class _Translate(Model):
    def __init__(self, about: TranslationModel) -> None:
        try:
            import ctranslate2
            import sentencepiece
        except ImportError as error:
            raise EngineUnavailable(f"Nothing can be translated here (extra `translate`): {error}.") from error
        self.version = f"ctranslate2 {ctranslate2.__version__}"
        weights, source, target = map(str, about.files)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        try:
            self._source = sentencepiece.SentencePieceProcessor(model_file=source)
            self._target = sentencepiece.SentencePieceProcessor(model_file=target)
            self._translator = ctranslate2.Translator(
                str(Path(weights).parent), inter_threads=2, intra_threads=max(1, min(_THREADS, cores // 2))
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelInvalid(f"{about.folder} cannot be loaded: {error}") from error
        self._about = about

    def serve(self, request: Request) -> Reply:
        try:
            texts = json.loads(request.payload())
        except ValueError as error:
            raise BadInput("the payload is no JSON") from error
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise BadInput("the payload is no array of texts")
        parts = [(n, pieces) for n, text in enumerate(texts) for pieces in self._parts(text)]
        found: list[list[str]] = [[] for _ in texts]
        for first in range(0, len(parts), _BATCH):
            if request.abandoned():
                raise BadInput("nobody waits any more")
            batch = parts[first : first + _BATCH]
            for (n, _), said in zip(batch, self._translated([pieces for _, pieces in batch]), strict=True):
                found[n].append(said)
        together = [joined(sentences, self._about.target) for sentences in found]
        return Reply(payload=json.dumps(together, ensure_ascii=False).encode())

    def rest(self) -> None:
        """Nothing is kept."""

    def _parts(self, text: str) -> Iterator[list[str]]:
        """Pieces of what is translated by itself: models of this kind have learnt single sentences."""
        for sentence in sentences(text):
            pieces: list[str] = self._source.encode(sentence, out_type=str)
            for first in range(0, len(pieces), _MOST_PIECES):
                yield pieces[first : first + _MOST_PIECES]

    def _translated(self, parts: list[list[str]]) -> Iterator[str]:
        about = self._about
        most = 2 * max(map(len, parts)) + 20
        results: list[Any] = self._translator.translate_batch(
            [[*about.before, *pieces, *about.behind] for pieces in parts],
            target_prefix=[list(about.begin)] * len(parts) if about.begin else None,
            beam_size=about.beam_size,
            max_decoding_length=most,
        )
        for result in results:
            yield self._target.decode(result.hypotheses[0][len(about.begin) :])


def sentences(text: str) -> list[str]:
    """A text's sentences, as well as can be told without knowing its language."""
    found, start = [], 0
    for end in _END_OF_SENTENCE.finditer(text):
        if not _NO_END.search(text, start, end.start()):
            found.append(text[start : end.end()].strip())
            start = end.end()
    return [one for one in (*found, text[start:].strip()) if one]
