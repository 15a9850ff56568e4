"""The table of options: how values are read, in the words users have always been told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from core.jobs.params import JobParams
from core.options import about, options, read
from core.store.tables import ROW_VERSION


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("temperature", " 0.5 ", 0.5),
        ("temperature", 1, 1.0),
        ("beam_size", "5", 5),
        ("beam_size", "5.0", 5),
        ("beam_size", 5.0, 5),
        ("beam_size", "1", None),
        ("word_timestamps", "on", True),
        ("word_timestamps", "False", False),
        ("word_timestamps", 1, True),
        ("language", "German", "de"),
        ("language", "AUTO", None),
        ("audio_track", 3, 3),
        ("audio_track", " 3 ", 3),
        ("audio_track", "German", "de"),
        ("prompt", " as it is\n", " as it is\n"),
        ("callback_url", " https://a.test:8443/hook?x=1#y ", "https://a.test:8443/hook?x=1#y"),
        ("metadata", '{"a": [1, {"b": null}], "\u00e9": "\\u0000"}', {"a": [1, {"b": None}], "\u00e9": "\x00"}),
        ("metadata", {"a": 1e300}, {"a": 1e300}),
        ("vocabulary", " Anna,Zyn Trix\r\n, ,Grüße\nAnna", ["Anna", "Zyn Trix", "Grüße"]),
        ("vocabulary", '["a, b", " c\u0301 "]', ["a, b", "c\u0301"]),
        ("vocabulary", ["x" * 100, "\u0915\u094d\u200d\u0937"], ["x" * 100, "\u0915\u094d\u200d\u0937"]),
        ("vocabulary", [], None),
        ("vocabulary", ",", None),
    ],
)
def test_values_come_as_text_or_as_json(name: str, given: Any, kept: Any) -> None:
    values, errors = read(JobParams, {name: given})
    assert (values, errors) == ({name: kept}, [])
    assert type(values[name]) is type(kept)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("temperature", "1.5", "Input should be less than or equal to 1"),
        ("temperature", "-0.1", "Input should be greater than or equal to 0"),
        ("temperature", "nan", "Input should be a finite number"),
        ("temperature", "warm", "Input should be a valid number, unable to parse string as a number"),
        ("temperature", [0.2], "Input should be a valid number"),
        ("beam_size", "1_0", "Input should be a valid integer, unable to parse string as an integer"),
        ("beam_size", "9" * 5000, "Input should be a valid integer, unable to parse string as an integer"),
        ("beam_size", True, "Input should be a valid integer"),
        ("beam_size", 2.5, "Input should be a valid integer"),
        ("beam_size", float("inf"), "Input should be a valid integer"),
        ("beam_size", 10**400, "Input should be less than or equal to 8"),
        ("word_timestamps", "perhaps", "Input should be a valid boolean, unable to interpret input"),
        ("word_timestamps", {}, "Input should be a valid boolean, unable to interpret input"),
        ("task", "sing", "Input should be 'transcribe' or 'translate'"),
        ("prompt", "x" * 2001, "String should have at most 2000 characters"),
        ("prompt", 7, "Input should be a valid string"),
        ("audio_track", True, "must be an index from 0 to 199, or a language"),
        ("vocabulary", ["x"] * 101, "List should have at most 100 items"),
        ("vocabulary", "x" * 101, "each word or phrase must have at most 100 characters"),
        ("vocabulary", ["a\nb"], "must not hold control characters"),
        ("vocabulary", "a\0b", "must not hold control characters"),
        *(
            ("vocabulary", given, "Input should be a valid list of strings")
            for given in (7, {"a": 1}, [7], [None], "[1]", "[", "[" * 3000, '["\\ud800"]', ["\ud800"])
        ),
        ("melody", "3", "Extra inputs are not permitted"),
        *(
            ("callback_url", url, "must begin with http:// or https:// and a host, without a name or a password")
            for url in ("a.test", "ftp://a.test", "http://", "http://a:b@a.test/", "https://a.test/\n/b", "http:///a")
        ),
        ("callback_url", "https://a.test/" + "a" * 2048, "String should have at most 2048 characters"),
        ("metadata", "[1]", "Input should be a valid JSON object"),
        ("metadata", "7", "Input should be a valid JSON object"),
        ("metadata", 7, "Input should be a valid JSON object"),
        ("metadata", "{", "Input should be a valid JSON object whose names come once"),
        ("metadata", '{"a": NaN}', "Input should be a valid JSON object whose names come once"),
        ("metadata", '{"a": 1e999}', "Input should be a valid JSON object whose names come once"),
        ("metadata", '{"a": 1, "a": 2}', "Input should be a valid JSON object whose names come once"),
        ("metadata", '{"a": "\\ud800"}', "Input should be a valid JSON object whose names come once"),
        (
            "metadata",
            '{"a": ' + "[" * 3000 + "]" * 3000 + "}",
            "Input should be a valid JSON object whose names come once",
        ),
        *(("metadata", '{"a": ' + "[" * n + "]" * n + "}", "must be nested at most 16 deep") for n in (16, 500)),
        ("metadata", {"a": "x" * 4089}, "must have at most 4096 bytes"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, given: Any, message: str) -> None:
    values, errors = read(JobParams, {name: given, "model": "base"})
    assert (values, errors) == ({"model": "base"}, [{"field": name, "message": message}])


def test_what_is_empty_counts_as_not_given() -> None:
    assert read(JobParams, {"model": " ", "language": "", "beam_size": None}) == ({}, [])


def test_a_table_may_have_any_of_the_kinds_there_are() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Songs:
        key: Literal["major", "minor"] | None = field(default=None, metadata=about("Its key."))
        loud: bool = field(default=True, metadata=about("Whether it is loud."))
        note: str = ""

    key, loud = options(Songs)
    assert (key.choices, key.kind, loud.kind, loud.default) == (("major", "minor"), str, bool, True)
    assert read(Songs, {"key": "minor", "loud": "no"}) == ({"key": "minor", "loud": False}, [])
    assert [error["field"] for error in read(Songs, {"key": "green", "note": "x"})[1]] == ["key", "note"]


def test_every_option_says_what_it_is() -> None:
    for option in options(JobParams):
        assert option.about.help.endswith("."), option.name
    assert {option.name for option in options(JobParams)} == set(JobParams(model="base").shown())


_FIRST = {"model", "task", "language", "prompt", "temperature", "beam_size", "word_timestamps", "audio_track"}
_THIRD = _FIRST | {"callback_url", "metadata", "priority", "workers", "chunk_duration"}
_FOURTH = _THIRD | {"vocabulary"}
_FIFTH = _FOURTH | {"diarize", "num_speakers", "min_speakers", "max_speakers"}
_SIXTH = _FIFTH | {"known_speakers", "enhance", "enhance_for", "align", "channels"}
_SEVENTH = _SIXTH | {"translate_to"}
OF_ROW_VERSION = {1: _FIRST, 3: _THIRD, 4: _FOURTH, 5: _FIFTH, 6: _SIXTH, 7: _SEVENTH}
"""From which ROW_VERSION on which options are known."""


def test_a_new_option_has_a_row_version_of_its_own_so_that_older_consumers_leave_its_jobs_alone() -> None:
    newest = max(version for version in OF_ROW_VERSION if version <= ROW_VERSION)
    assert {option.name for option in options(JobParams)} == OF_ROW_VERSION[newest], (
        "raise core.store.tables.ROW_VERSION, and say here what came with it"
    )
