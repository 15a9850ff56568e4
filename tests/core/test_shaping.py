"""Cues: what limits they keep, that no letter is lost, and that other libraries read what is written."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pysubs2
import pytest
import srt
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from core.transcript.formats import FORMATS
from core.transcript.shaping import Shaping
from core.transcript.subtitles.cue_times import cue_times
from core.transcript.subtitles.cues import Cue, cues
from core.transcript.subtitles.lines import right_to_left, units, width, wrap
from core.transcript.values import Language, Segment, Speaker, Transcript, Translation, Word

EMPTY = Transcript(segments=(), language=Language(code="en", confidence=1.0), duration=0.0, model="base")
LETTERS = (
    "abcdefghij ABC ....,,??!;:'\"-%$&<>  éüñß"  # noqa: RUF001
    "今日東京行見長散歩疲れましたちょっとーカタカナ。、「」（）！ "  # noqa: RUF001
    "กำลังเรียนภาษาไทย مرحبا بالعالم، كيف؟ שלום עולם 한국어 e\u0301a\u0308 😀🏽\u200d❤🇩🇪"
)


def letters(text: str) -> str:
    return "".join(text.split())


@st.composite
def transcripts(draw: st.DrawFn, *, least_gap: int = 0) -> Transcript:
    """As the merge makes them: in order, of whole milliseconds, with words whose times may lack."""
    moment, segments = draw(st.integers(0, 3000)), []
    for text in draw(st.lists(st.text(LETTERS, min_size=1, max_size=260), max_size=6)):
        length = draw(st.sampled_from([0, 1, 90, 400, 900, 2500, 6000, 14_000]))
        start, end = moment / 1000, (moment + length) / 1000
        words: list[Word] = []
        if draw(st.booleans()):
            said = text.split()
            for n, word in enumerate(said):
                begin, stop = (round(start + (end - start) * (n + i) / len(said), 3) for i in (0, 0.8))
                timed = draw(st.integers(0, 4)) > 0
                words.append(
                    Word(word=word, start=begin if timed else None, end=stop if timed else None, probability=None)
                )
        segments.append(Segment(start=start, end=end, text=text, words=tuple(words)))
        moment += length + max(least_gap, draw(st.sampled_from([0, 0, 1, 80, 700, 3000])))
    code = draw(st.sampled_from(["en", "ja", "ar"]))
    language = Language(code=code, confidence=1.0)
    # room for a hundredth for each unit at least, which is what ASS knows
    duration = (moment + draw(st.integers(0, 500))) / 1000 + 20
    return replace(EMPTY, segments=tuple(segments), duration=duration, language=language)


@st.composite
def shapings(draw: st.DrawFn) -> Shaping:
    most = draw(st.sampled_from([1.0, 2.5, 7.0, 20.0]))
    return Shaping(
        max_line_width=draw(st.sampled_from([10, 13, 42, 80])),
        max_lines=draw(st.integers(1, 3)),
        max_chars_per_second=draw(st.sampled_from([5.0, 20.0, 100.0])),
        min_cue=draw(st.sampled_from([0.0, 0.8, 1.0])),
        max_cue=most,
    )


@settings(deadline=None)
@given(transcripts(), shapings(), st.sampled_from([1, 10]))
def test_every_limit_is_kept_and_no_letter_lost(transcript: Transcript, shaping: Shaping, tick: int) -> None:
    found = cues(transcript, shaping, tick=tick)
    spoken = [letters(s.text) for s in transcript.segments]
    assert letters("".join(text for cue in found for text in cue.texts)) == "".join(spoken)
    for cue in found:
        assert 0 <= cue.start < cue.end <= round(transcript.duration * 1000)
        assert cue.start % tick == cue.end % tick == 0
        assert cue.end - cue.start <= shaping.max_cue * 1000
        assert 1 <= len(cue.lines) <= shaping.max_lines
        assert all(0 < width(text) <= shaping.max_line_width or letters(text) for text in cue.texts)
        assert all(width(text) <= shaping.max_line_width for text in cue.texts)
    for one, two in zip(found, found[1:], strict=False):
        assert one.end <= two.start


@settings(deadline=None)
@given(transcripts(), shapings())
def test_a_cue_stays_for_as_long_as_it_takes_to_read_unless_something_else_is_said(
    transcript: Transcript, shaping: Shaping
) -> None:
    shaping = replace(shaping, min_cue=shaping.min_cue or 0.5)  # else some last 1 ms, and the next begin as much later
    found = cues(transcript, shaping)
    ends = [cue.start for cue in found[1:]] + [int(transcript.duration * 1000)]
    for cue, until in zip(found, ends, strict=False):
        columns = sum(width(text) for text in cue.texts)
        wanted = min(shaping.max_cue, max(shaping.min_cue, columns / shaping.max_chars_per_second))
        assert cue.end - cue.start >= wanted * 1000 - 1 or cue.end >= until - 1, cue


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 40)), max_size=12), st.integers(0, 20))
def test_times_of_any_texts_are_in_order(spoken: list[tuple[int, int, int]], least: int) -> None:
    """Also of texts that are out of order, overlap, or lie behind the end."""
    times = cue_times(spoken, least=max(1, least), most=30, end=50)
    assert len(times) == len(spoken)
    assert all(0 <= start < end <= 50 and end - start <= 30 for start, end in times)
    assert all(one[1] <= two[0] for one, two in zip(times, times[1:], strict=False))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        # without length: readable where there is room, over nothing else
        ([(1, 1), (5, 8)], [(1000, 1800), (5000, 8000)]),
        ([(1, 1), (1.5, 8)], [(700, 1500), (1500, 8000)]),  # the rest of its time from before it
        ([(0, 1), (2, 2), (2, 8)], [(0, 1000), (1200, 2000), (2000, 8000)]),
        ([(0, 5), (5, 5), (5, 8)], [(0, 4200), (4200, 5000), (5000, 8000)]),  # no room: taken from the one before
        ([(0, 0), (0, 6)], [(0, 800), (800, 6000)]),  # or from the one behind
        ([(0, 5), (5, 5), (5, 5), (5, 8)], [(0, 3400), (3400, 4200), (4200, 5000), (5000, 8000)]),
        # never past the media's end
        ([(0, 5), (9.9, 9.9)], [(0, 5000), (9200, 10000)]),
        ([(3, 10), (10, 10)], [(3000, 9200), (9200, 10000)]),
        # short ones too
        ([(1, 1.3), (5, 8)], [(1000, 1800), (5000, 8000)]),
        ([(1, 1.3), (1.4, 8)], [(600, 1400), (1400, 8000)]),
        ([(0, 2), (2, 2.3), (2.3, 8)], [(0, 1500), (1500, 2300), (2300, 8000)]),
        # what is long enough stays as it is
        ([(0, 0.8), (0.9, 7)], [(0, 800), (900, 7000)]),
        # and never longer than a cue may
        ([(0, 9)], [(0, 7000)]),
    ],
)
def test_cues_stay_for_as_long_as_one_reads(given: list[tuple[float, float]], shown: list[tuple[int, int]]) -> None:
    spoken = [(round(start * 1000), round(end * 1000), 800) for start, end in given]
    assert cue_times(spoken, least=800, most=7000, end=10_000) == shown


def talk(*segments: Segment, code: str = "en", **more: Any) -> Transcript:
    return replace(EMPTY, segments=segments, duration=60.0, language=Language(code=code, confidence=1.0), **more)


def said(text: str, start: float = 0.0, pace: float = 0.4, **more: Any) -> Segment:
    words = tuple(
        Word(word=word, start=start + n * pace, end=start + (n + 0.8) * pace, probability=1.0)
        for n, word in enumerate(text.split())
    )
    return Segment(start=start, end=start + len(words) * pace, text=text, words=words, **more)


FOX = said("The quick brown fox jumps over the lazy dog, and then it sleeps for a very long time. Nobody knows why.")


def shown(transcript: Transcript, shaping: Shaping | None = None) -> list[tuple[int, int, tuple[str, ...]]]:
    return [(cue.start, cue.end, cue.texts) for cue in cues(transcript, shaping or Shaping())]


def test_long_segments_are_cut_where_a_phrase_ends_at_the_times_of_their_words() -> None:
    assert shown(talk(FOX)) == [
        (0, 3520, ("The quick brown fox", "jumps over the lazy dog,")),
        (3600, 8400, ("and then it sleeps for a very long time.", "Nobody knows why.")),
    ]


def test_without_words_times_follow_the_letters() -> None:
    found = shown(talk(replace(FOX, words=())))
    assert [texts for _, _, texts in found] == [texts for _, _, texts in shown(talk(FOX))]
    assert (
        found[0][1]
        == found[1][0]
        == round(8400 * (len(letters(FOX.text.partition(",")[0])) + 1) / len(letters(FOX.text)))
    )


def test_short_segments_of_one_voice_become_one_cue() -> None:
    yes = [Segment(start=n * 0.3, end=n * 0.3 + 0.3, text=text) for n, text in enumerate(("Yes.", "No.", "Well."))]
    assert shown(talk(*yes)) == [(0, 900, ("Yes. No. Well.",))]
    alone = [replace(s, speaker=name) for s, name in zip(yes, "ABC", strict=True)]
    named = talk(*alone, speakers=tuple(Speaker(id=name, name=name, seconds=1) for name in "ABC"))
    assert [texts for _, _, texts in shown(named)] == [("A: Yes.",), ("B: No.",), ("C: Well.",)]
    slow = [Segment(start=n * 3.0, end=n * 3.0 + 0.3, text="Yes.") for n in range(2)]
    assert len(shown(talk(*slow))) == 2


def test_lines_without_blanks_end_where_typesetters_let_them() -> None:
    text = "今日は「東京」へ行きました。ちょっとABCを見て、それから長い長い散歩をしましたが、とても疲れました。"
    for limit in range(10, 43):
        lines = [
            texts
            for _, _, texts in shown(talk(Segment(start=0, end=9, text=text), code="ja"), Shaping(max_line_width=limit))
        ]
        for line in (line for texts in lines for line in texts):
            assert line[0] not in "」。、っょー" and line[-1] != "「", lines  # noqa: RUF001
            assert width(line) <= limit
    assert "".join(units("กำลังเรียนภาษาไทย", 10)) == "กำลังเรียนภาษาไทย"
    assert not any(unit[0] in "\u0e31\u0e33\u0e34\u0e35" for unit in units("กำลังเรียนภาษาไทย", 10))
    assert [width(text) for text in ("abc", "今日", "e\u0301", "กำลัง", "한국")] == [3, 4, 1, 4, 4]


def test_a_word_wider_than_a_line_is_cut() -> None:
    assert units("x" * 25 + " y", 10) == ["x" * 10, "x" * 10, "xxxxx ", "y"]
    assert units("e\u0301" * 12, 10) == ["e\u0301" * 10, "e\u0301" * 2]
    for emoji in ("😀", "👨\u200d👩\u200d👧\u200d👦", "👩🏽\u200d❤\ufe0f\u200d👨🏿", "👍🏽", "🇩🇪", "🏴\u200d☠\ufe0f"):
        assert width(emoji) == 2 and units(emoji * 12, 10) == [emoji * 5, emoji * 5, emoji * 2], emoji
    assert width("क\u094d\u200dष") == 2, "a joiner between letters joins no emoji"


def test_lines_are_of_like_width_and_as_few_as_can_be() -> None:
    some = units("one two three four five six seven eight nine ten eleven", 42)
    assert ["".join(some[i:j]).rstrip() for i, j in wrap(some, 42)] == [
        "one two three four five six",
        "seven eight nine ten eleven",
    ]
    assert wrap([], 42) == []


ARABIC = Segment(start=1.0, end=4.0, text="مرحبا بالعالم، كيف حالك؟")


def test_right_to_left_is_told_to_players_that_do_not_see_it() -> None:
    assert right_to_left(ARABIC.text) and right_to_left("(שלום) hello") and not right_to_left("12 hello שלום")
    transcript = talk(ARABIC, said("Hello.", 10), code="ar")
    assert [cue.content for cue in srt.parse(FORMATS["srt"].render(transcript))] == [
        f"\u202b{ARABIC.text}\u202c",
        "Hello.",
    ]
    assert ARABIC.text in FORMATS["vtt"].render(transcript).splitlines(), "WebVTT finds the direction itself"
    assert pysubs2.SSAFile.from_string(FORMATS["ass"].render(transcript)).styles["Default"].encoding == 178
    assert pysubs2.SSAFile.from_string(FORMATS["ass"].render(talk(FOX))).styles["Default"].encoding == 1


plain = transcripts().map(
    lambda t: replace(t, segments=tuple(replace(s, text=re.sub("--+>", "->", s.text)) for s in t.segments))
)


@settings(deadline=None)
@given(plain, shapings())
def test_srt_is_read_back_by_another_library(transcript: Transcript, shaping: Shaping) -> None:
    found = list(srt.parse(FORMATS["srt"].render(transcript, shaping), ignore_errors=False))
    expected = cues(transcript, shaping)
    assert [cue.index for cue in found] == [n + 1 for n in range(len(expected))]
    assert [(cue.start, cue.end) for cue in found] == [
        (timedelta(milliseconds=cue.start), timedelta(milliseconds=cue.end)) for cue in expected
    ]
    assert [re.sub("[\u202b\u202c]", "", cue.content).split("\n") for cue in found] == texts_of(expected)


@settings(deadline=None)
@given(transcripts(), shapings())
def test_vtt_is_read_back_by_another_library(transcript: Transcript, shaping: Shaping) -> None:
    found = webvtt.from_string(FORMATS["vtt"].render(transcript, shaping))
    expected = cues(transcript, shaping)
    assert [(milliseconds(cue.start), milliseconds(cue.end)) for cue in found] == [(c.start, c.end) for c in expected]
    assert [html.unescape(cue.raw_text).split("\n") for cue in found] == texts_of(expected)


@settings(deadline=None)
@given(transcripts(), shapings())
def test_ass_is_read_back_by_another_library(transcript: Transcript, shaping: Shaping) -> None:
    found = pysubs2.SSAFile.from_string(FORMATS["ass"].render(transcript, shaping))
    expected = cues(transcript, shaping, tick=10)
    assert [(cue.start, cue.end) for cue in found] == [(cue.start, cue.end) for cue in expected]
    assert [cue.plaintext.split("\n") for cue in found] == texts_of(expected)


def texts_of(expected: list[Cue]) -> list[list[str]]:
    return [list(cue.texts) for cue in expected]


def milliseconds(clock: str) -> int:
    hours, minutes, seconds = clock.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1000)


def test_what_is_markup_in_ass_is_text() -> None:
    line = FORMATS["ass"].render(talk(said(r"a {b} \N c"))).splitlines()[-1]
    assert line.endswith(",a \\{{}b} \\\u2060N c")


@settings(deadline=None)
@given(transcripts(), shapings())
def test_karaoke_has_a_time_for_each_word_within_its_cue(transcript: Transcript, shaping: Shaping) -> None:
    if not any(s.words for s in transcript.segments):
        return
    karaoke = replace(shaping, word_cues=True)
    found = webvtt.from_string(FORMATS["vtt"].render(transcript, karaoke))
    bare = webvtt.from_string(FORMATS["vtt"].render(transcript, shaping))
    for cue, same in zip(found, bare, strict=True):
        times = [milliseconds(time) for time in re.findall(r"<([\d:.]+)>", cue.raw_text)]
        assert all(
            a < b for a, b in zip([milliseconds(cue.start), *times], [*times, milliseconds(cue.end)], strict=True)
        )
        assert re.sub(r"<[\d:.]+>", "", cue.raw_text) == same.raw_text
    for event, cue in zip(
        pysubs2.SSAFile.from_string(FORMATS["ass"].render(transcript, karaoke)),
        cues(transcript, karaoke, tick=10),
        strict=True,
    ):
        assert event.plaintext.split("\n") == list(cue.texts)
        assert sum(map(int, re.findall(r"\\k(\d+)", event.text))) in (0, (event.end - event.start) // 10)


def test_karaoke_to_the_letter() -> None:
    transcript = talk(said("Anna & I", 1.0, 0.5))
    assert FORMATS["vtt"].render(transcript, Shaping(word_cues=True)).splitlines()[2:] == [
        "00:00:01.000 --> 00:00:02.500",
        "Anna <00:00:01.500>&amp; <00:00:02.000>I",
    ]
    assert FORMATS["ass"].render(transcript, Shaping(word_cues=True)).splitlines()[-1] == (
        r"Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\k50}Anna {\k50}& {\k50}I"
    )


SPEAKERS = (Speaker(id="SPEAKER_00", name="Anna", seconds=2), Speaker(id="SPEAKER_01", name="Bert, <B>", seconds=1))
DIALOGUE = talk(
    said("Good morning to you.", 0, speaker="SPEAKER_00"),
    said("How are you today?", 3, speaker="SPEAKER_00"),
    said("I am very well.", 6, speaker="SPEAKER_01"),
    speakers=SPEAKERS,
)


@pytest.mark.parametrize(
    ("name", "speakers", "lines"),
    [
        ("srt", "auto", ["Anna: Good morning to you.", "How are you today?", "Bert, <B>: I am very well."]),
        ("srt", "none", ["Good morning to you.", "How are you today?", "I am very well."]),
        ("vtt", "auto", ["<v Anna>Good morning to you.", "<v Anna>How are you today?", "<v Bert, &lt;B&gt;>I am very well."]),
        ("vtt", "prefix", ["Anna: Good morning to you.", "How are you today?", "Bert, &lt;B&gt;: I am very well."]),
        ("vtt", "none", ["Good morning to you.", "How are you today?", "I am very well."]),
    ],
)  # fmt: skip
def test_speakers(name: str, speakers: Any, lines: list[str]) -> None:
    text = FORMATS[name].render(DIALOGUE, Shaping(speakers=speakers))
    assert [line for line in text.splitlines() if "you" in line or "well" in line] == lines


def test_speakers_have_a_field_in_ass() -> None:
    events = list(pysubs2.SSAFile.from_string(FORMATS["ass"].render(DIALOGUE)))
    assert [(event.name, event.plaintext) for event in events] == [
        ("Anna", "Good morning to you."),
        ("Anna", "How are you today?"),
        ("Bert <B>", "I am very well."),
    ]
    unnamed = pysubs2.SSAFile.from_string(FORMATS["ass"].render(DIALOGUE, Shaping(speakers="prefix")))
    assert [(event.name, event.plaintext[:6]) for event in unnamed] == [("", "Anna: "), ("", "How ar"), ("", "Bert, ")]


def test_translations() -> None:
    german = replace(
        FOX,
        translation="Der schnelle braune Fuchs springt über den faulen Hund und schläft dann sehr lange. Niemand weiß, warum.",
    )
    transcript = talk(german, said("Yes.", 20), translation=Translation(language="de", provider="made"))
    only = shown(transcript, Shaping(translation="only"))
    assert letters("".join("".join(texts) for *_, texts in only)) == letters(german.translation + "Yes.")
    both = shown(transcript, Shaping(translation="both"))
    assert letters("".join("".join(texts) for *_, texts in both)) != ""
    for _, _, texts in both:
        assert len(texts) <= 4 and all(width(text) <= 42 for text in texts)
    first = both[0][2]
    assert first[0].startswith("The quick") and any(text.startswith("Der schnelle") for text in first)
    assert both[-1][2] == ("Yes.",)


def test_voices_that_speak_at_once_follow_each_other() -> None:
    one = said("First one speaks for long.", 0, 1.0, speaker="A")
    found = shown(talk(said("Second one.", 1, 0.5, speaker="B"), one), Shaping(speakers="none"))
    assert [texts[0] for *_, texts in found] == ["First one speaks for long.", "Second one."]
    assert found[0][1] <= found[1][0]
