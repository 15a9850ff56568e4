from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict, replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import NotInResult, ValidationFailed
from core.notices import Notice
from core.options import options
from core.transcript.formats import FORMATS, RESULT_VERSION, FileFormat, FormatName, from_result, shaping_for, to_result
from core.transcript.shaping import Shaping
from core.transcript.values import Gap, Language, Segment, Speaker, SpeakerTurn, Transcript, Translation, Word

WORDS = (
    Word(word="Anna", start=0.5, end=0.9, probability=0.98),
    Word(word="37", start=None, end=None, probability=None),
    Word(word="says", start=1.2, end=1.5, probability=0.5),
)
TRANSCRIPT = Transcript(
    segments=(
        Segment(
            start=0.5,
            end=1.5,
            text="Anna 37 says",
            avg_logprob=-0.25,
            no_speech_prob=0.01,
            compression_ratio=0.8,
            words=WORDS,
            language="de",
        ),
        Segment(start=61.25, end=61.25, text='a ----> b <i> & "c", d\nnew\tline', flags=("low_confidence",)),
        Segment(start=362_000, end=362_001.5, text="Grüße"),
    ),
    language=Language(code="de", confidence=0.97),
    duration=362_010.2,
    model="base",
    gaps=(Gap(start=70, end=80.5, reason="no_text"),),
    warnings=(Notice(code="no_speech", message="…"),),
    performance={"wall": 12.5, "parallel": True},
    provenance={"library": "wheel", "chunks": 3},
)

EXPECTED = {
    "txt": 'Anna 37 says\n\na ----> b <i> & "c", d new line\n\nGrüße\n',
    "md": '**[00:00:00]** Anna 37 says\n\n**[00:01:01]** a ----\\> b \\<i\\> \\& "c", d new line\n\n'
    "**[100:33:20]** Grüße\n",
    "srt": """1
00:00:00,500 --> 00:00:01,500
Anna 37 says

2
00:01:01,250 --> 00:01:02,800
a -> b <i> & "c", d new line

3
100:33:20,000 --> 100:33:21,500
Grüße

""",
    "vtt": """WEBVTT

00:00:00.500 --> 00:00:01.500
Anna 37 says

00:01:01.250 --> 00:01:02.800
a ----&gt; b &lt;i&gt; &amp; "c", d new line

100:33:20.000 --> 100:33:21.500
Grüße
""",
    "tsv": 'start\tend\ttext\n500\t1500\tAnna 37 says\n61250\t61251\ta ----> b <i> & "c", d new line\n362000000\t362001500\tGrüße\n',
    "csv": "start,end,text\r\n0.500,1.500,Anna 37 says\r\n"
    '61.250,61.251,"a ----> b <i> & ""c"", d new line"\r\n362000.000,362001.500,Grüße\r\n',
    "lrc": '[00:00.50]Anna 37 says\n[01:01.25]a ----> b <i> & "c", d new line\n[6033:20.00]Grüße\n',
}


@pytest.mark.parametrize("name", EXPECTED)
def test_plain_formats(name: str) -> None:
    assert FORMATS[name].render(TRANSCRIPT) == EXPECTED[name]


def test_json_has_the_fields_of_the_contract_and_words_only_when_asked_for() -> None:
    body = json.loads(FORMATS["json"].render(TRANSCRIPT))
    assert list(body) == (
        "text language duration model segments gaps warnings performance provenance speakers translation".split()
    )
    assert body["language"] == {"code": "de", "confidence": 0.97}
    assert body["segments"][0] == {
        "id": 0,
        "start": 0.5,
        "end": 1.5,
        "text": "Anna 37 says",
        "avg_logprob": -0.25,
        "no_speech_prob": 0.01,
        "compression_ratio": 0.8,
        "flags": [],
        "language": "de",
        "speaker": None,
        "speaker_confidence": None,
        "translation": None,
    }
    assert (body["speakers"], body["translation"]) == (None, None)
    assert body["gaps"] == [{"start": 70, "end": 80.5, "reason": "no_text"}]
    assert body["warnings"] == [{"code": "no_speech", "message": "…"}]
    asked = json.loads(FORMATS["json"].render(replace(TRANSCRIPT, word_timestamps=True)))
    assert asked["segments"][0]["words"][1] == {
        "word": "37",
        "start": None,
        "end": None,
        "probability": None,
        "speaker": None,
        "speakers": [],
    }
    assert asked["segments"][2]["words"] == []


def test_verbose_json_is_what_openai_clients_parse() -> None:
    body = json.loads(FORMATS["verbose_json"].render(replace(TRANSCRIPT, word_timestamps=True)))
    assert list(body) == "task language duration text segments words usage".split()
    assert (body["task"], body["language"]) == ("transcribe", "german")
    keys = "id seek start end text tokens temperature avg_logprob compression_ratio no_speech_prob".split()
    assert all(list(s) == keys for s in body["segments"])
    assert body["segments"][0] == dict(
        zip(keys, [0, 50, 0.5, 1.5, "Anna 37 says", [], 0.0, -0.25, 0.8, 0.01], strict=True)
    )
    assert body["words"][1] == {"word": "37", "start": 0.9, "end": 1.2}
    assert body["usage"] == {"type": "duration", "seconds": 362_011}
    assert "words" not in json.loads(FORMATS["verbose_json"].render(TRANSCRIPT))


def test_an_empty_transcript_is_valid_in_every_format() -> None:
    empty = replace(TRANSCRIPT, segments=())
    texts = {name: f.render(replace(empty, speakers=())) for name, f in FORMATS.items()}
    assert (texts["md"], texts["rttm"]) == ("", "")
    assert (texts["txt"], texts["srt"], texts["lrc"], texts["vtt"]) == ("", "", "", "WEBVTT\n")
    assert (texts["tsv"], texts["csv"]) == ("start\tend\ttext\n", "start,end,text\r\n")
    assert json.loads(texts["json"])["segments"] == json.loads(texts["verbose_json"])["segments"] == []


times = st.floats(0, 10**6)
segments = st.builds(
    Segment,
    start=times,
    end=times,
    text=st.text(),
    avg_logprob=st.none() | st.floats(-5, 0),
    flags=st.sampled_from([(), ("repetition", "no_speech_likely")]),
    words=st.lists(
        st.builds(Word, word=st.text(), start=st.none() | times, end=st.none() | times, probability=st.none())
    ).map(tuple),
)


@settings(deadline=None)
@given(st.lists(segments).map(tuple), st.sampled_from(["transcribe", "translate"]))
def test_stored_results_come_back_and_render_in_every_format(some: tuple[Segment, ...], task: str) -> None:
    transcript = replace(TRANSCRIPT, segments=some, task=task, word_timestamps=True)
    back = from_result(json.loads(json.dumps(to_result(transcript))))
    assert back == transcript
    for name, form in FORMATS.items():
        if name != "rttm":
            assert form.render(back) == form.render(transcript), name
    rows = list(csv.reader(io.StringIO(FORMATS["csv"].render(back), newline="")))
    assert [r[2] for r in rows[1:]] == [" ".join(s.text.split()) for s in some if s.text.split()]


def test_words_are_stored_and_shown_only_if_they_were_asked_for() -> None:
    stored = json.loads(json.dumps(to_result(TRANSCRIPT)))
    assert (stored["version"], stored["word_timestamps"]) == (RESULT_VERSION, False)
    assert stored["segments"][0]["words"]
    back = from_result(stored)
    assert back == TRANSCRIPT
    for shown in ("json", "verbose_json"):
        assert '"words"' not in FORMATS[shown].render(back)
        assert '"words"' in FORMATS[shown].render(replace(back, word_timestamps=True))


def test_results_of_other_versions_are_read() -> None:
    stored = to_result(TRANSCRIPT)
    older = {name: value for name, value in stored.items() if name != "version"}
    older["segments"] = [{name: value for name, value in s.items() if name != "words"} for s in stored["segments"]]
    without = replace(TRANSCRIPT, segments=tuple(replace(s, words=()) for s in TRANSCRIPT.segments))
    assert from_result(older) == without
    for name in ("speaker", "translation"):
        older["segments"] = [{key: value for key, value in s.items() if key != name} for s in older["segments"]]
        del older[f"{name}s" if name == "speaker" else name]
    assert from_result(older) == without
    for shown in ("srt", "vtt", "ass", "txt", "md", "json"):
        assert FORMATS[shown].render(from_result(older))
    newer = stored | {"version": RESULT_VERSION + 1, "moods": ["A"]}
    newer["segments"] = [
        s | {"mood": "A", "words": [w | {"mood": "A"} for w in s["words"]]} for s in stored["segments"]
    ]
    assert from_result(newer) == TRANSCRIPT


def test_the_list_of_formats_is_one() -> None:
    assert tuple(FORMATS) == get_args(FormatName)
    assert {FORMATS[name].extension for name in FORMATS} == set(get_args(FileFormat))


def test_names_and_media_types() -> None:
    assert list(FORMATS) == "json verbose_json diarized_json txt md srt vtt ass lrc tsv csv rttm".split()
    assert FORMATS["vtt"].media_type == "text/vtt; charset=utf-8"
    assert FORMATS["verbose_json"].extension == "json"


SPEAKERS = (Speaker(id="SPEAKER_00", name="Anna", seconds=3.5), Speaker(id="SPEAKER_01", name="Bert & Co", seconds=1.0))
TALK = replace(
    TRANSCRIPT,
    segments=(
        Segment(start=0.0, end=2.0, text="Good morning.", speaker="SPEAKER_00", translation="Guten Morgen."),
        Segment(start=2.1, end=3.6, text="I am *late*.", speaker="SPEAKER_00", translation="Ich bin spät dran."),
        Segment(start=3.7, end=4.7, text="You are!", speaker="SPEAKER_01", translation="In der Tat!"),
        Segment(start=9.0, end=11.0, text="Let us begin.", speaker="SPEAKER_01"),
    ),
    language=Language(code="en", confidence=1.0),
    duration=12.0,
    speakers=SPEAKERS,
    translation=Translation(language="de", provider="made"),
)


def test_paragraphs_end_at_long_pauses_and_where_another_speaks() -> None:
    assert FORMATS["txt"].render(TALK) == ("Anna: Good morning. I am *late*.\n\nBert & Co: You are!\n\nLet us begin.\n")
    assert FORMATS["md"].render(TALK) == (
        "**[00:00:00] Anna:** Good morning. I am \\*late\\*.\n\n"
        "**[00:00:03] Bert \\& Co:** You are!\n\n**[00:00:09] Bert \\& Co:** Let us begin.\n"
    )
    assert FORMATS["txt"].render(TALK, Shaping(speakers="none")).startswith("Good morning. I am *late*.\n\nYou are!")
    close = replace(TRANSCRIPT, segments=tuple(Segment(start=t, end=t + 1, text="x") for t in (0.0, 3.0, 6.001)))
    assert FORMATS["txt"].render(close) == "x x\n\nx\n", "more than two seconds"


def test_csv_names_the_speakers_where_there_are_any() -> None:
    rows = list(csv.reader(io.StringIO(FORMATS["csv"].render(TALK), newline="")))
    assert (
        rows[0] == ["start", "end", "text", "speaker"]
        and [row[3] for row in rows[1:]] == ["Anna"] * 2 + ["Bert & Co"] * 2
    )
    assert FORMATS["csv"].render(TALK, Shaping(speakers="none")).startswith("start,end,text\r\n0.000,2.000,Good")


@pytest.mark.parametrize("said", ["# one", "- one", "+ one", "1. one", "1) one", "---", "==="])
def test_what_begins_like_a_list_or_a_heading_is_text_in_markdown(said: str) -> None:
    both = replace(TALK, segments=(replace(TALK.segments[0], translation=said),))
    line = FORMATS["md"].render(both, Shaping(translation="both")).splitlines()[1]
    assert line.replace("\\", "") == said and re.match(r"\d*\\[-+=#.)]", line)


def test_translations_stand_beside_or_in_place_of_the_original() -> None:
    assert FORMATS["txt"].render(TALK, Shaping(translation="only", speakers="none")) == (
        "Guten Morgen. Ich bin spät dran.\n\nIn der Tat!\n\nLet us begin.\n"
    ), "what has none is not left out"
    assert (
        FORMATS["txt"]
        .render(TALK, Shaping(translation="both"))
        .startswith(
            "Anna: Good morning. I am *late*.\nGuten Morgen. Ich bin spät dran.\n\nBert & Co: You are!\nIn der Tat!\n\n"
        )
    )


def test_rttm_says_who_speaks_when() -> None:
    assert FORMATS["rttm"].render(TALK).splitlines() == [
        "SPEAKER audio 1 0.000 2.000 <NA> <NA> SPEAKER_00 <NA> <NA>",
        "SPEAKER audio 1 2.100 1.500 <NA> <NA> SPEAKER_00 <NA> <NA>",
        "SPEAKER audio 1 3.700 1.000 <NA> <NA> SPEAKER_01 <NA> <NA>",
        "SPEAKER audio 1 9.000 2.000 <NA> <NA> SPEAKER_01 <NA> <NA>",
    ]
    turns = (
        SpeakerTurn(start=0.0, end=3.9, speaker="SPEAKER_00"),
        SpeakerTurn(start=3.5, end=4.7, speaker="SPEAKER_01"),
    )
    heard = from_result(json.loads(json.dumps(to_result(replace(TALK, turns=turns)))))
    assert FORMATS["rttm"].render(heard).splitlines() == [
        "SPEAKER audio 1 0.000 3.900 <NA> <NA> SPEAKER_00 <NA> <NA>",
        "SPEAKER audio 1 3.500 1.200 <NA> <NA> SPEAKER_01 <NA> <NA>",
    ], "as it was heard, both of them where they speak at once"


def test_diarized_json_is_what_openai_clients_parse() -> None:
    body = json.loads(FORMATS["diarized_json"].render(TALK))
    assert list(body) == "task duration text segments usage".split()
    assert body["segments"][2] == {
        "type": "transcript.text.segment",
        "id": "seg_002",
        "start": 3.7,
        "end": 4.7,
        "text": "You are!",
        "speaker": "Bert & Co",
    }
    unknown = json.loads(FORMATS["diarized_json"].render(TRANSCRIPT))
    assert {s["speaker"] for s in unknown["segments"]} == {None}


@pytest.mark.parametrize(
    ("name", "shaping", "why"),
    [
        ("rttm", Shaping(), "no speakers"),
        ("srt", Shaping(speakers="prefix"), "no speakers"),
        ("txt", Shaping(translation="only"), "no translation"),
        ("ass", Shaping(translation="both"), "no translation"),
        ("vtt", Shaping(word_cues=True), "no times of words"),
    ],
)
def test_what_a_transcript_has_not_is_refused(name: str, shaping: Shaping, why: str) -> None:
    without = replace(TRANSCRIPT, segments=tuple(replace(s, words=()) for s in TRANSCRIPT.segments))
    with pytest.raises(NotInResult, match=why):
        FORMATS[name].render(without, shaping)


def test_speakers_and_translations_are_stored() -> None:
    assert from_result(json.loads(json.dumps(to_result(TALK)))) == TALK


def test_a_format_takes_what_it_can_honour_and_refuses_the_rest() -> None:
    assert shaping_for(["srt", "vtt"], {"max_lines": "1", "min_cue": 1}) == Shaping(max_lines=1, min_cue=1.0)
    assert shaping_for(["json"], {}) == Shaping()
    for names, asked, field in (
        (["json"], {"max_lines": 2}, "max_lines"),
        (["srt"], {"word_cues": False}, "word_cues"),
        (["srt", "txt"], {"max_lines": 2}, "max_lines"),
        (["srt"], {"max_lines": 0}, "max_lines"),
        (["srt"], {"min_cue": 3, "max_cue": 2}, "min_cue"),
        (["srt"], {"melody": 1}, "melody"),
        (["md"], {"speakers": "some"}, "speakers"),
    ):
        with pytest.raises(ValidationFailed) as refused:
            shaping_for(names, asked)
        assert [error["field"] for error in refused.value.details["errors"]] == [field]
    known = {option.name for option in options(Shaping)}
    assert known == frozenset().union(*(form.takes for form in FORMATS.values())), "each is honoured by some format"


def test_channels_are_named_where_several_have_a_text() -> None:
    said = (
        Segment(start=0.0, end=3.0, text="Hello there.", channel=0),
        Segment(start=2.0, end=4.0, text="Good morning.", channel=1),
        Segment(start=4.5, end=6.0, text="How are you?", channel=1),
    )
    gaps = (Gap(start=7, end=9, reason="no_text", channel=1),)
    two = replace(TRANSCRIPT, segments=said, gaps=gaps, duration=10.0)
    assert from_result(json.loads(json.dumps(to_result(two)))) == two
    body = json.loads(FORMATS["json"].render(two))
    assert [one["channel"] for one in body["segments"]] == [0, 1, 1] and body["gaps"][0]["channel"] == 1
    assert [one["channel"] for one in json.loads(FORMATS["verbose_json"].render(two))["segments"]] == [0, 1, 1]
    speakers = [one["speaker"] for one in json.loads(FORMATS["diarized_json"].render(two))["segments"]]
    assert speakers == ["Channel 0", "Channel 1", "Channel 1"]
    assert FORMATS["txt"].render(two) == "Channel 0: Hello there.\n\nChannel 1: Good morning. How are you?\n"
    assert re.findall("Channel .", FORMATS["srt"].render(two)) == ["Channel 0", "Channel 1"]
    assert re.findall("<v (.*?)>", FORMATS["vtt"].render(two)) == ["Channel 0", "Channel 1", "Channel 1"]
    assert "Channel 1: Good" in FORMATS["vtt"].render(two, Shaping(speakers="prefix"))
    assert "Channel" not in FORMATS["srt"].render(two, Shaping(speakers="none"))
    rows = list(csv.reader(io.StringIO(FORMATS["csv"].render(two))))
    assert rows[:3] == [
        ["start", "end", "text", "channel"],
        ["0.000", "3.000", "Hello there.", "0"],
        ["2.000", "4.000", "Good morning.", "1"],
    ]
    assert FORMATS["tsv"].render(two).startswith("start\tend\ttext\tchannel\n0\t3000\tHello there.\t0\n2000\t")
    with pytest.raises(NotInResult):
        FORMATS["rttm"].render(two)

    named = replace(two, speakers=(Speaker(id="A", name="Anna", seconds=3.0),))
    named = replace(named, segments=(replace(said[0], speaker="A"), *said[1:]))
    assert FORMATS["rttm"].render(named).startswith("SPEAKER audio 1 0.000 3.000")
    assert FORMATS["txt"].render(named).startswith("Anna: Hello there.\n\nChannel 1: ")
    alone = replace(two, segments=said[1:])
    assert "Channel" not in FORMATS["srt"].render(alone) + FORMATS["vtt"].render(alone) + FORMATS["txt"].render(alone)


def test_a_word_is_told_with_all_that_is_known_of_it() -> None:
    word = Word(word="Anna", start=0.5, end=0.9, probability=0.75, speaker="SPEAKER_01", speakers=("SPEAKER_01",))
    assert list(word.to_dict().items()) == list(asdict(word).items())
    assert Word.from_dict(word.to_dict()) == word
