"""What the service says of itself to who asks with `describe`."""

from __future__ import annotations

from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from api.deps import ApiDeps
from core.transcript.languages import LANGUAGES

PROGRAM = "parascribe"
_MAKERS = Attribution(name="OpenAI, whisper.cpp", url="https://github.com/ggml-org/whisper.cpp")


def info_of(deps: ApiDeps) -> Info:
    """The models that are here, the service's own first: that is the one that is taken where none is named."""
    usual = deps.settings.whisper_model
    here = sorted(
        (status.info for status in deps.models.list() if status.path is not None),
        key=lambda info: (info.name != usual, info.name),
    )
    models = [
        AsrModel(
            name=info.name,
            attribution=_MAKERS,
            installed=True,
            description=f"Whisper {info.name}",
            version=None,
            languages=sorted(LANGUAGES) if info.multilingual else ["en"],
        )
        for info in here
    ]
    program = AsrProgram(
        name=PROGRAM,
        attribution=Attribution(name="Parascribe", url=""),
        installed=True,
        description="Speech to text on your own machines",
        version=deps.version,
        models=models,
        supports_transcript_streaming=True,
    )
    return Info(asr=[program])
