"""From tokens to phrases and words: times, clamping, and characters that tokens cut in two."""

from __future__ import annotations

from whisper.library.inference import compression_ratio
from whisper.library.phrases import Phrase, Token, split_phrases
from whisper.library.word_times import words_of

BEG = 1000


def at(seconds: float) -> Token:
    return Token(BEG + round(seconds / 0.02), b"", 1.0, 0.0)


def say(*pieces: str | bytes, p: float = 0.5) -> list[Token]:
    return [Token(1, piece if isinstance(piece, bytes) else piece.encode(), p, -0.5) for piece in pieces]


def spans(tokens: list[Token], seconds: float) -> list[tuple[float, float, bytes]]:
    return [(p.start, p.end, b"".join(t.data for t in p.tokens)) for p in split_phrases(tokens, BEG, seconds)]


def test_phrases_lie_between_timestamps() -> None:
    tokens = [at(0.5), *say(" One"), at(1.5), at(2.0), *say(" two", "."), at(3.0)]
    assert spans(tokens, 5.0) == [(0.5, 1.5, b" One"), (2.0, 3.0, b" two.")]


def test_times_are_clamped_to_the_audio_and_never_run_back() -> None:
    tokens = [at(1.0), *say(" a"), at(3.0), at(2.0), *say(" b"), at(2.5), at(4.0), *say(" c"), at(29.34)]
    assert spans(tokens, 3.5) == [(1.0, 3.0, b" a"), (3.0, 3.0, b" b"), (3.5, 3.5, b" c")]


def test_missing_timestamps() -> None:
    assert spans(say(" no", " times"), 2.0) == [(0.0, 2.0, b" no times")]
    assert spans([at(0.4), *say(" cut off")], 2.0) == [(0.4, 2.0, b" cut off")]
    assert spans([at(0.0), at(1.0), *say(" "), at(2.0)], 3.0) == []


def test_words_share_the_time_by_length() -> None:
    words = words_of(Phrase(1.0, 2.0, tuple(say(" One", " two", ",", " four", "teen"))), spaced=True)
    assert [w["word"] for w in words] == ["One", "two,", "fourteen"]
    # 4 + 5 + 9 = 18 characters with the gaps
    assert [(w["start"], w["end"]) for w in words] == [(1.0, 1.222), (1.222, 1.5), (1.5, 2.0)]
    assert words[0]["probability"] == 0.5


def test_words_before_a_long_pause_keep_a_human_pace() -> None:
    words = words_of(Phrase(10.0, 20.0, tuple(say(" Yes"))), spaced=True)
    assert (words[0]["start"], words[0]["end"]) == (10.0, 11.0)


def test_words_of_a_phrase_without_duration_have_no_times() -> None:
    assert words_of(Phrase(3.5, 3.5, tuple(say(" c"))), spaced=True) == [
        {"word": "c", "start": None, "end": None, "probability": 0.5}
    ]


def test_characters_cut_by_tokens_are_joined() -> None:
    first, second = "漢".encode()[:2], "漢".encode()[2:]
    words = words_of(Phrase(0.0, 1.0, tuple(say(first, second, "字"))), spaced=False)
    assert [w["word"] for w in words] == ["漢", "字"]
    half = words_of(Phrase(0.0, 1.0, tuple(say(" ok", first))), spaced=True)
    assert [w["word"] for w in half] == ["ok\ufffd"]


def test_compression_ratio_tells_repetition() -> None:
    plain = compression_ratio(b" Lucy takes ten brown ships on the street.")
    loop = compression_ratio(b" thank you." * 40)
    assert plain is not None and loop is not None and plain < 1.5 and loop > 10
    assert compression_ratio(b"  ") is None
