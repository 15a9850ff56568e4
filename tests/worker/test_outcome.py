"""What versions before this one stored is read, and says the same."""

import json

from core.speech.chunks import Chunk
from core.transcript.merge import Piece, merge
from core.transcript.values import Segment, Word
from whisper.types import ChunkTranscript

STORED_BY_0_1_0 = """{
  "segments": [
    {"start": 0.0, "end": 2.5, "text": " Ask not", "avg_logprob": -0.500004321, "compression_ratio": 1.12345678,
     "words": [{"word": " Ask", "start": 0.1, "end": 0.51239, "probability": 0.987654321},
               {"word": " not", "start": null, "end": null, "probability": null}]},
    {"start": 2.5, "end": 4.0, "text": " what.", "avg_logprob": null, "compression_ratio": null, "words": []}],
  "language": "en", "no_speech_prob": 0.012345678, "engine_seconds": 1.5, "wall_seconds": 0.8,
  "engine": {"library": "wheel", "version": "1.8.5"}
}"""


def test_a_chunk_of_0_1_0_is_read_and_merged() -> None:
    said = ChunkTranscript.from_dict(json.loads(STORED_BY_0_1_0))
    assert said.languages == {} and said.text == "Ask not what."
    assert ChunkTranscript.from_dict(json.loads(json.dumps(said.to_dict()))) == said
    chunk = Chunk.from_dict(
        {"index": 0, "start": 0, "end": 80_000, "regions": [[0, 80_000]], "overlap_before": 0, "overlap_after": 0}
    )
    first, second = merge([Piece(chunk=chunk, segments=said.segments)]).segments
    assert first == Segment(
        start=0.0,
        end=2.5,
        text="Ask not",
        avg_logprob=-0.5,
        no_speech_prob=0.0123,
        compression_ratio=1.1235,
        words=(
            Word(word="Ask", start=0.1, end=0.512, probability=0.9877),
            Word(word="not", start=None, end=None, probability=None),
        ),
        language="en",
    ), "rounded before it is judged: what the number of threads changes must not decide about a flag"
    assert (second.language, second.no_speech_prob, second.flags) == ("en", 0.0123, ())
