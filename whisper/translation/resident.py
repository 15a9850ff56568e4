"""Translations by CTranslate2 models in engine hosts: once in memory for all jobs and streams of a machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec

from core.errors import ChunkFailed, EngineUnavailable, ModelInvalid, TranslationFailed
from core.system.cancel import Cancel, wait
from core.system.retry import retry
from core.transcript.languages import LanguagePairs, by_source, grouped
from whisper.engine.host_client import HostClient
from whisper.models.translation import TranslationModel
from whisper.translation.texts import translated
from whisper.types import Call, Urgency
from whisper.wire.kind import ModelRef

_AGAIN = (0.5, 2.0)
"""Seconds before a further try, when an engine host is away."""


def installed() -> bool:
    """Whether what runs these models is (extra `translate`); nothing is loaded."""
    return bool(find_spec("ctranslate2") and find_spec("sentencepiece"))


class ResidentTranslator:
    """models: of each pair the first counts. urgency: before whom its requests go"""

    name = "ctranslate2"

    def __init__(
        self, client: HostClient, models: Sequence[TranslationModel], *, urgency: Urgency = Urgency.JOB
    ) -> None:
        self._client, self._urgency = client, urgency
        self._models = {(model.source, model.target): model for model in reversed(models)}

    def can(self, source: str | None, target: str) -> bool:
        return any(target == to and source in (None, out_of) for out_of, to in self._models)

    def pairs(self) -> list[LanguagePairs]:
        return grouped(by_source(self._models))

    def load(self, source: str | None, target: str, cancel: Cancel | None = None) -> None:
        """Have the model of a pair in memory before anything is asked of it; without a source, that of the only pair there
        is into `target`. Raises EngineUnavailable, ModelInvalid and Cancelled."""
        fitting = [model for (out_of, to), model in self._models.items() if to == target and source in (None, out_of)]
        if len(fitting) == 1:
            self._client.load(_reference(fitting[0]), cancel)

    def translate(
        self,
        texts: Sequence[str],
        *,
        source: str,
        target: str,
        before: Sequence[str] = (),
        cancel: Cancel | None = None,
    ) -> list[str]:
        model = self._models.get((source, target))
        if model is None:
            raise TranslationFailed(f"There is no model from {source} to {target}.", away=True)
        reference = _reference(model)
        call = Call(label=f"{source}-{target}", urgency=self._urgency, cancel=cancel)

        def ask(wanted: list[str]) -> list[object]:
            data = json.dumps(wanted, ensure_ascii=False).encode("utf-8", "replace")
            answer = self._client.ask(reference, "translate", lambda: data, call=call)
            found: list[object] = json.loads(answer.payload)
            return found

        try:
            return retry(
                lambda: translated(texts, ask),
                pauses=_AGAIN,
                retryable=lambda error: isinstance(error, EngineUnavailable),
                wait=lambda seconds: wait(seconds, cancel),
            )
        except (EngineUnavailable, ModelInvalid) as error:
            raise TranslationFailed(error.message, away=True) from error
        except ChunkFailed as error:
            raise TranslationFailed(error.message) from error


def _reference(model: TranslationModel) -> ModelRef:
    return ModelRef(kind="translate", files=tuple(map(str, model.files)))
