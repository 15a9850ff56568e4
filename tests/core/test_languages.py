"""How texts that follow each other are joined: as the language writes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.transcript.languages import LANGUAGES, UNSPACED, joined
from core.transcript.values import Language, Segment, Transcript


@pytest.mark.parametrize(
    ("language", "texts", "whole"),
    [
        ("zh", ["今天天气", "很好。"], "今天天气很好。"),
        ("zh", ["今天天气", "，", "很好。"], "今天天气，很好。"),
        ("yue", ["今日天氣", "好好。"], "今日天氣好好。"),
        ("ja", ["今日は", "いい天気", "デス。"], "今日はいい天気デス。"),
        ("th", ["วันนี้", "อากาศดี"], "วันนี้อากาศดี"),
        ("lo", ["ມື້ນີ້", "ອາກາດດີ"], "ມື້ນີ້ອາກາດດີ"),
        ("my", ["ဒီနေ့", "ရာသီဥတု"], "ဒီနေ့ရာသီဥတု"),
        # blanks inside a text are the model's own
        ("zh", ["我 用", "手机"], "我 用手机"),
        # Latin words, figures and marks in between
        ("zh", ["我用", "iPhone", "手机"], "我用iPhone手机"),
        ("zh", ["OK.", "yes, yes"], "OK. yes, yes"),
        ("zh", ["2026", "年"], "2026年"),
        ("ja", ["天気です.", "OK"], "天気です. OK"),
        # languages with blanks, also where they are spoken about in others
        ("en", ["It is", "fine."], "It is fine."),
        ("en", ["", " It is ", "  ", "fine. "], "It is fine."),
        ("ko", ["오늘 날씨가", "좋네요."], "오늘 날씨가 좋네요."),
        ("km", ["ថ្ងៃនេះ", "អាកាសធាតុ"], "ថ្ងៃនេះ អាកាសធាតុ"),
        ("en", ["They say", "今天天气", "很好", "and mean it."], "They say 今天天气很好 and mean it."),
        # a translation is English, whatever was spoken
        ("zh", ["The weather is", "fine today."], "The weather is fine today."),
        ("de", [], ""),
    ],
)
def test_joined(language: str, texts: list[str], whole: str) -> None:
    assert joined(texts, language) == whole
    segments = tuple(Segment(start=n, end=n + 1, text=text) for n, text in enumerate(texts))
    transcript = Transcript(
        segments=segments, language=Language(code=language, confidence=1.0), duration=9.0, model="base"
    )
    assert transcript.text == whole


def test_the_unspaced_are_languages() -> None:
    assert set(LANGUAGES) > UNSPACED


def test_workers_can_read_it_without_anything_but_the_standard_library() -> None:
    code = "import sys, whisper.library.inference; print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if not name.startswith("_")} <= {"core", "whisper"}, loaded
