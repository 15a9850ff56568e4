"""From what the engine made of an utterance to its final, and to what is kept of it for a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.audio.samples import SAMPLE_RATE
from core.live.events import Final
from core.live.sessions import StoredUtterance
from core.speech.chunks import Chunk
from core.transcript.languages import joined
from core.transcript.merge import Piece, merge
from core.transcript.values import Word
from whisper.types import ChunkTranscript
from worker.live.stages.recogniser import Spoken
from worker.live.stages.seam import before_cut, behind_cut


def final_of(
    spoken: Spoken, *, language: str, task: str, before: Sequence[Word], ends_before: float, watermark: int
) -> tuple[StoredUtterance, Final]:
    """The text by the same rules as a job's (`core.transcript.merge`): noise that was taken for words has none.

    before: the words up to the cut at which this utterance begins; empty where it begins in silence
    ends_before: where the channel's last final ends, seconds
    watermark: nothing to come is heard from before that sample

    What was cut through speech is stored with its words already shared out (`worker.live.stages.seam`), so that its
    chunk has no overlap and nobody stitches it again. One that failed is stored with nothing said: `{}`.
    """
    utterance, found = spoken.utterance, spoken.utterance.found
    chunk = Chunk(
        index=utterance.number,
        start=found.start,
        end=found.end,
        regions=(found.heard,),
        speech=(found.speech,),
        channel=utterance.channel,
        watermark=watermark if utterance.channel is not None else 0,
    )
    said = None if spoken.said is None else _own(spoken.said, chunk, before)
    merged = merge([Piece(chunk=chunk, segments=said.segments)]).segments if said else ()
    spoke = said.language if said else language
    words = [word for segment in merged for word in segment.words]
    probabilities = [word.probability for word in words if word.probability is not None]
    start = max(ends_before, merged[0].start if merged else found.speech.start / SAMPLE_RATE)
    # behind a cut, two decodings differ a little in where a word is
    words = [_from(word, round(start, 3)) for word in words]
    final = Final(
        utterance=utterance.number,
        start=round(start, 3),
        end=round(max(start, merged[-1].end if merged else found.speech.end / SAMPLE_RATE), 3),
        text=joined((segment.text for segment in merged), "en" if task == "translate" else spoke),
        words=words,
        language=spoke,
        confidence=round(sum(probabilities) / len(probabilities), 4) if probabilities else None,
        channel=utterance.channel,
        error=spoken.error,
    )
    stored = StoredUtterance(
        number=utterance.number,
        start=found.start,
        end=found.end,
        chunk=chunk.to_dict(),
        said=said.to_dict() if said else {},
        final=final.to_dict(),
    )
    return stored, final


def _from(word: Word, start: float) -> Word:
    if word.start is None or word.end is None or word.start >= start:
        return word
    return replace(word, start=start, end=max(start, word.end))


def _own(said: ChunkTranscript, chunk: Chunk, before: Sequence[Word]) -> ChunkTranscript:
    """Without the words that are another's."""
    (heard,) = chunk.regions
    segments = said.segments
    if before:
        offset, cut = heard.start / SAMPLE_RATE, chunk.start / SAMPLE_RATE
        segments = behind_cut(segments, before, offset=offset, cut=cut)
    if heard.end > chunk.end:
        segments = before_cut(segments, (chunk.end - heard.start) / SAMPLE_RATE)
    if before or heard.end > chunk.end:
        return replace(said, segments=segments).by_words()
    return said
