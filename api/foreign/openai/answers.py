"""A transcript as OpenAI's clients read it, whole or as it comes."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from api.events.follower import Follower
from api.events.hub import Hub, Seen
from api.events.stream import Position, events
from api.foreign.openai.errors import body_of
from api.foreign.openai.wanted import FORMATS, Wanted
from core.errors import ServiceError
from core.transcript import formats
from core.transcript.languages import joined
from core.transcript.values import Transcript


def answer(transcript: Transcript, wanted: Wanted) -> Response:
    """The whole of it."""
    chosen = formats.FORMATS[FORMATS[wanted.response_format]]
    if wanted.response_format == "json":
        return Response(json.dumps(_body(transcript, wanted), ensure_ascii=False), media_type="application/json")
    if wanted.response_format == "text":
        return Response(f"{transcript.text}\n", media_type="text/plain; charset=utf-8")
    text = chosen.render(transcript)
    if wanted.response_format == "verbose_json" and not wanted.segments:
        text = json.dumps({k: v for k, v in json.loads(text).items() if k != "segments"}, ensure_ascii=False)
    return Response(text, media_type=chosen.media_type)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One event of a stream. data: JSON, or the mark of its end"""

    data: str

    def as_sse(self) -> bytes:
        return f"data: {self.data}\n\n".encode()


async def deltas(
    hub: Hub, follower: Follower[Seen], wanted: Wanted, result: Callable[[], AsyncIterator[Transcript]]
) -> AsyncIterator[Told | None]:
    """The text piece by piece, as soon as it is final; put together it is that of the last event.

    result: gives the transcript once the job has completed, or raises why there is none
    """
    last = ""
    try:
        async for event in events(hub, follower, Position()):
            if event is None:
                yield None
            elif event.kind == "segments":
                language = follower.now.status.job.language or "und"
                for segment in json.loads(event.data)["segments"]:
                    text = segment["text"].strip()
                    if text:
                        delta = joined((last, text), language)[len(last) :]
                        last = text
                        yield _told(type="transcript.text.delta", delta=delta)
        async for transcript in result():
            yield _told(type="transcript.text.done", **_body(transcript, wanted))
    except ServiceError as error:
        yield Told(data=json.dumps(body_of(error)))
    yield Told(data="[DONE]")


def _told(**body: Any) -> Told:
    return Told(data=json.dumps(body, ensure_ascii=False))


def _body(transcript: Transcript, wanted: Wanted) -> dict[str, Any]:
    body: dict[str, Any] = {
        "text": transcript.text,
        "usage": {"type": "duration", "seconds": math.ceil(transcript.duration)},
    }
    if wanted.logprobs:
        # of words, as that is what is kept
        body["logprobs"] = [
            {
                "token": word.word,
                "logprob": math.log(max(word.probability or 0.0, 1e-9)),
                "bytes": list(word.word.encode()),
            }
            for segment in transcript.segments
            for word in segment.words
        ]
    return body
