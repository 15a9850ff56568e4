"""Voices that you keep, so that jobs know them by name. `Client.voices`, `AsyncClient.voices`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from parascribe.client.answers import json_of
from parascribe.client.blocking import Blocking, blocking
from parascribe.client.bodies import Voice
from parascribe.client.calls.sending import Sending, path_of


class AsyncVoices(Sending):
    """The voices that you have kept at one service; nobody else can use them. They raise what the client's methods do."""

    async def list(self) -> Sequence[Voice]:
        """By name."""
        return cast("Sequence[Voice]", json_of(await self._send("GET", path_of("voices")))["items"])

    async def keep(self, name: str, *, job: str, speaker: str) -> Voice:
        """Keep what a speaker (`SPEAKER_00`) of a completed job sounds like. Raises NotFound, Conflict (`voice_exists`,
        `not_ready`, `not_in_result`), ApiError (`expired`, `validation`). Never sent twice by itself."""
        form = {"name": name, "job": job, "speaker": speaker}
        return cast(Voice, json_of(await self._send("POST", path_of("voices"), repeat=False, json=form)))

    async def delete(self, name: str) -> None:
        """Forget a voice. Raises NotFound."""
        await self._send("DELETE", path_of("voices", name), done="voice_not_found")


class Voices(Blocking):
    """`AsyncVoices`, each call of which returns when it is done."""

    list = blocking(AsyncVoices.list)
    keep = blocking(AsyncVoices.keep)
    delete = blocking(AsyncVoices.delete)
