"""docs/reference/live.md: each example is a message as it is."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from core.errors import LiveFull
from core.live import events
from core.live.events import Event, event_of
from core.live.options import OF_JOBS, Start, StreamOptions
from core.live.wire import MESSAGE_BYTES
from core.options import options

PAGE = (Path(__file__).parents[2] / "docs/reference/live.md").read_text()
EXAMPLES: list[dict[str, Any]] = [json.loads(block) for block in re.findall(r"```json\n(.+?)\n```", PAGE, re.DOTALL)]
CLIENTS = ("start", "flush")


def test_each_message_of_the_service_has_an_example_that_is_one() -> None:
    told = [one for one in EXAMPLES if one["type"] not in CLIENTS and len(one) > 1]
    for message in told:
        event = event_of(message)
        assert event is not None and event.to_dict() == message
    kinds = {
        one.type: one
        for one in vars(events).values()
        if isinstance(one, type) and issubclass(one, Event) and one is not Event
    }
    assert {message["type"] for message in told} == set(kinds)
    for kind in kinds.values():
        for field in fields(kind):
            assert re.search(rf"`{field.name}`|\"{field.name}\"", PAGE), f"{kind.type}.{field.name} is not told of"
    assert next(one for one in told if one["type"] == "error")["message"] == LiveFull().message


def test_each_message_of_the_client_has_an_example_that_is_taken() -> None:
    starts = [Start.of(one) for one in EXAMPLES if one["type"] == "start"]
    assert len(starts) == 2 and starts[1].session and starts[1].position == 48_000
    assert {"type": "flush"} in EXAMPLES and {"type": "end"} in EXAMPLES


def test_the_table_has_each_option_with_its_default() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|([^|]*)\|", PAGE, re.MULTILINE)
    shown = {name: default.strip().strip("`") for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    for option in options(StreamOptions):
        default = "" if option.default is None else str(option.default)
        assert shown[option.name] == (default.lower() if isinstance(option.default, bool) else default)
    assert set(shown) >= OF_JOBS
    assert MESSAGE_BYTES == 1 << 20
