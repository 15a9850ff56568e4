"""All stages of a job, in the order of the walk."""

from __future__ import annotations

from worker.context.stage import Stage
from worker.stages.assemble import AssembleStage
from worker.stages.decode import DecodeStage
from worker.stages.diarize import DiarizeStage, KnownSpeakersStage
from worker.stages.enhance import EnhanceStage
from worker.stages.language import LanguageStage
from worker.stages.plan import PlanStage
from worker.stages.source import SourceStage
from worker.stages.transcribe import TranscribeStage
from worker.stages.words.align import AlignStage
from worker.stages.words.translation import SpokenTranslationStage, TranslationStage


def catalogue(*more: Stage) -> tuple[Stage, ...]:
    """more: further stages; all that is stored by then is there when the transcript is put together."""
    heard = (SourceStage(), DecodeStage(), EnhanceStage(), PlanStage(), LanguageStage())
    words = (TranscribeStage(), AlignStage(), TranslationStage(), SpokenTranslationStage())
    others = (*heard, *words, DiarizeStage(), KnownSpeakersStage(), *more)
    return (*others, AssembleStage([stage for stage in others if stage.stored]))
