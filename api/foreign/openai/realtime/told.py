"""Events of the Realtime interface, as OpenAI's clients read them."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Any

from api.foreign.openai.errors import body_of
from core.errors import ServiceError
from core.live.events import Final

TRANSCRIPTION = "conversation.item.input_audio_transcription"

CODES = {"empty_upload": "input_audio_buffer_commit_empty"}
"""Where the Realtime interface has a name of its own."""


def new_id(kind: str) -> str:
    """kind: event, item or sess"""
    return f"{kind}_{secrets.token_hex(12)}"


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "event_id": new_id("event"), **more}


def error_event(error: ServiceError, event_id: str | None = None) -> dict[str, Any]:
    """event_id: of the client's event that it was"""
    body = body_of(error)["error"]
    return event("error", error=body | {"event_id": event_id, "code": CODES.get(error.code, body["code"])})


def item_of(item_id: str, *, transcript: str | None = None) -> dict[str, Any]:
    """What the audio has become in the conversation. transcript: None while it is not known"""
    content = {"type": "input_audio", "transcript": transcript}
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "user",
        "content": [content],
    }


def delta(item_id: str, text: str) -> dict[str, Any]:
    return event(f"{TRANSCRIPTION}.delta", item_id=item_id, content_index=0, delta=text)


def completed(item_id: str, text: str, seconds: float, *, logprobs: list[dict[str, Any]] | None) -> dict[str, Any]:
    usage = {"type": "duration", "seconds": round(seconds, 3)}
    more: Mapping[str, Any] = {} if logprobs is None else {"logprobs": logprobs}
    return event(f"{TRANSCRIPTION}.completed", item_id=item_id, content_index=0, transcript=text, usage=usage, **more)


def failed(item_id: str, error: ServiceError) -> dict[str, Any]:
    return event(f"{TRANSCRIPTION}.failed", item_id=item_id, content_index=0, error=body_of(error)["error"])


def logprobs_of(final: Final) -> list[dict[str, Any]]:
    """Of words, as that is what there is."""
    return [
        {"token": word.word, "logprob": math.log(max(word.probability or 0.0, 1e-9)), "bytes": list(word.word.encode())}
        for word in final.words
    ]
