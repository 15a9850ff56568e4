from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.audio.samples import SAMPLE_RATE, Region
from core.speech.chunks import Chunk, in_one_row
from core.speech.planner import ChunkPlanner
from core.transcript.merge import Merged, Merger, Piece, is_loop, merge, needs_words
from core.transcript.seams.stitch import placed_words
from core.transcript.values import Segment, Word

S = SAMPLE_RATE
VOCABULARY = "five two Anna red house seven Monday apples by no".split()


@dataclass(frozen=True)
class Said:
    word: str
    start: float
    end: float


def monologue(rng: random.Random, pauses: bool) -> tuple[list[Said], list[Region], int]:
    """Words one after the other for some minutes; with `pauses`, holes of 0.1-8 s here and there."""
    said, regions, t = [], [], rng.uniform(0, 2)
    for _ in range(rng.randint(1, 3 if not pauses else 20)):
        begin = t
        for _ in range(rng.randint(60, 200) if not pauses else rng.randint(1, 60)):
            length = rng.uniform(0.15, 0.6)
            said.append(Said(rng.choice(VOCABULARY), t, t + length))
            t += length + 0.02
        regions.append(Region(start=int(begin * S), end=int(t * S)))
        t += rng.uniform(0.3, 8) if pauses else rng.uniform(0.3, 1)
    return said, regions, int(t * S)


def listen(chunk: Chunk, said: list[Said], rng: random.Random, jitter: float) -> Piece:
    """A model that hears every whole word, garbles words cut off by the window's edges, and is a little off in time."""
    words: list[Word] = []
    offset = 0.0
    for region in chunk.regions:
        low, high = region.start / S, region.end / S
        for w in said:
            if w.end <= low or w.start >= high or min(w.end, high) - max(w.start, low) < 0.05:
                continue
            whole = low <= w.start and w.end <= high
            text = w.word if whole else w.word[: max(1, len(w.word) // 2)] + "…"
            a, b = (offset + min(max(x, low), high) - low for x in (w.start, w.end))
            a, b = a + rng.uniform(-jitter, jitter), b + rng.uniform(-jitter, jitter)
            a = max(a, words[-1].end or 0.0) if words else max(0.0, a)
            words.append(Word(word=f" {text}", start=a, end=max(a, b), probability=0.9))
        offset += high - low
    segments = []
    while words:
        n = rng.randint(1, 12)
        some, words = words[:n], words[n:]
        text = "".join(w.word for w in some)
        segments.append(Segment(start=some[0].start or 0, end=some[-1].end or 0, text=text, words=tuple(some)))
    return Piece(chunk=chunk, segments=tuple(segments))


def planned(regions: list[Region], total: int, rng: random.Random) -> list[Chunk]:
    planner = ChunkPlanner(28 * S, quietest=lambda a, b: rng.randint(a, b))
    return planner.feed(regions) + planner.finish(total)


def check_order(merged: Merged, total: int) -> None:
    reached = 0.0
    for s in merged.segments:
        assert reached <= s.start <= s.end <= total / S + 0.001
        reached = s.end
        inside = s.start
        for w in s.words:
            assert w.start is not None and w.end is not None
            assert inside <= w.start <= w.end <= s.end
            inside = w.end


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9), st.booleans())
def test_no_word_is_lost_or_doubled_at_any_seam(seed: int, pauses: bool) -> None:
    rng = random.Random(seed)
    said, regions, total = monologue(rng, pauses)
    chunks = planned(regions, total, rng)
    pieces = [listen(c, said, rng, jitter=0.03) for c in chunks]
    merged = merge(pieces)
    assert " ".join(s.text for s in merged.segments).split() == [w.word for w in said]
    heard = [w for s in merged.segments for w in s.words]
    for w, truth in zip(heard, said, strict=True):
        assert w.start == pytest.approx(truth.start, abs=0.35)
    check_order(merged, total)
    gone = rng.randrange(len(pieces))
    merger, final = Merger(), []
    for n, piece in enumerate(pieces):
        final += merger.skip(piece.chunk) if n == gone else merger.add(piece)
        assert tuple(final) == merge(pieces[:gone] + pieces[gone + 1 :]).segments[: len(final)], "it was not final"
    final += merger.finish()
    assert tuple(final) == merge(pieces[:gone] + pieces[gone + 1 :]).segments
    rng.shuffle(pieces)  # chunks finish in any order
    assert merge(pieces) == merged


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_sloppy_times_and_missing_words_keep_order_and_nearly_all_text(seed: int) -> None:
    rng = random.Random(seed)
    said, regions, total = monologue(rng, pauses=False)
    pieces = []
    for c in planned(regions, total, rng):
        piece = listen(c, said, rng, jitter=0.15)
        bare = tuple(replace(s, words=()) if rng.random() < 0.3 else s for s in piece.segments)
        pieces.append(Piece(chunk=c, segments=bare))
    merged = merge(pieces)
    check_order(merged, total)
    count = len(" ".join(s.text for s in merged.segments).split())
    assert abs(count - len(said)) <= 2 * (len(pieces) - 1)


def timed(segment: Segment, rng: random.Random) -> Segment:
    """As an engine gives it that was asked for the times of words: it lasts from the first to the last of them."""
    start, end = sorted(max(0.0, edge + rng.uniform(-1, 1)) for edge in (segment.start, segment.end))
    return replace(segment, start=start, end=end, timestamps=(segment.start, segment.end))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9))
def test_times_of_words_change_no_letter(seed: int) -> None:
    rng = random.Random(seed)
    said, regions, total = monologue(rng, pauses=True)
    without, asked = [], []
    for chunk in planned(regions, total, rng):
        doubts = {"avg_logprob": -1.2, "no_speech_prob": 0.9} if rng.random() < 0.5 else {}
        segments = [replace(s, **doubts) for s in listen(chunk, said, rng, jitter=0.03).segments]
        if segments:  # ends like a sentence, so that its dot may be one too many
            *_, last = segments[-1].words
            words = (*segments[-1].words[:-1], replace(last, word=f"{last.word}."))
            segments[-1] = replace(segments[-1], text=f"{segments[-1].text}.", words=words)
        known = needs_words(chunk)  # then they are asked for in any case
        for pieces, made in (
            (without, segments if known else [replace(s, words=()) for s in segments]),
            (asked, segments if known else [timed(s, rng) for s in segments]),
        ):
            pieces.append(Piece(chunk=chunk, segments=tuple(made)))
    a, b = merge(without), merge(asked)
    assert [s.text for s in a.segments] == [s.text for s in b.segments]
    assert len(a.warnings) == len(b.warnings)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**9))
def test_channels_are_merged_as_if_alone_and_each_segment_comes_in_its_place_once(seed: int) -> None:
    rng = random.Random(seed)
    talks = [monologue(rng, pauses=rng.random() < 0.8) for _ in range(rng.randint(2, 3))]
    total = max(end for _, _, end in talks)
    planners = [ChunkPlanner(28 * S, quietest=lambda a, b: (a + b) // 2) for _ in talks]
    coming = [list(regions) for _, regions, _ in talks]
    plan: list[Chunk] = []

    def store(planned: list[list[Chunk]], hears_from: int) -> None:
        named = [[replace(c, channel=n) for c in chunks] for n, chunks in enumerate(planned)]
        plan.extend(in_one_row(named, first=len(plan), hears_from=hears_from))

    for now in range(0, total + 10 * S, 10 * S):  # each as far as it is heard
        fed = [[region for region in regions if region.end <= now] for regions in coming]
        coming = [regions[len(done) :] for regions, done in zip(coming, fed, strict=True)]
        planned = [planner.feed(done) for planner, done in zip(planners, fed, strict=True)]
        starts = [regions[0].start if regions else total for regions in coming]
        store(planned, min(p.hears_from(start) for p, start in zip(planners, starts, strict=True)))
    store([planner.finish(total) for planner in planners], total)
    assert [chunk.index for chunk in plan] == list(range(len(plan)))

    pieces = [listen(chunk, talks[chunk.channel or 0][0], rng, jitter=0.03) for chunk in plan]
    merged = merge(pieces).segments
    assert [(s.start, s.channel) for s in merged] == sorted((s.start, s.channel or 0) for s in merged)
    for n in range(len(talks)):
        own = [p for p in pieces if p.chunk.channel == n]
        alone = merge(Piece(chunk=replace(p.chunk, channel=None), segments=p.segments) for p in own).segments
        assert [replace(s, channel=None) for s in merged if s.channel == n] == list(alone)
    merger, final = Merger(), []
    gone = rng.randrange(len(pieces))
    less = merge(pieces[:gone] + pieces[gone + 1 :]).segments
    for n, piece in enumerate(pieces):
        final += merger.skip(piece.chunk) if n == gone else merger.add(piece)
        assert tuple(final) == less[: len(final)], "it was not final"
    assert (*final, *merger.finish()) == less


def test_behind_a_cut_in_silence_a_chunk_does_not_wait_for_the_next() -> None:
    said = tuple(Segment(start=n, end=n + 0.9, text=f"Sentence {n}.") for n in range(5))
    quiet = Chunk(index=0, start=0, end=6 * S, regions=(Region(start=0, end=6 * S),))
    texts = [s.text for s in Merger().add(Piece(chunk=quiet, segments=said))]
    assert texts == ["Sentence 0.", "Sentence 1.", "Sentence 2."], (
        "the last dot, and where the one before ends, are open"
    )
    assert Merger().add(Piece(chunk=replace(quiet, overlap_after=S), segments=said)) == []


def cut_at_ten(left: str, right: str, left_times: list[float], right_times: list[float]) -> Merged:
    """Two chunks cut through speech at 10 s; words of 0.3 s that start at the times given (on the timeline)."""
    a = Chunk(index=0, start=0, end=10 * S, regions=(Region(start=0, end=10 * S + S // 2),), overlap_after=S // 2)
    b = Chunk(
        index=1, start=10 * S, end=20 * S, regions=(Region(start=10 * S - S // 2, end=20 * S),), overlap_before=S // 2
    )
    return merge(
        [
            Piece(chunk=a, segments=(phrase(left, left_times, 0.0),)),
            Piece(chunk=b, segments=(phrase(right, right_times, 9.5),)),
        ]
    )


def phrase(text: str, times: list[float], origin: float, **figures: float) -> Segment:
    parts = text.split()
    words = tuple(
        Word(word=w, start=t - origin, end=t - origin + 0.3, probability=None)
        for w, t in zip(parts, times, strict=True)
    )
    return Segment(start=times[0] - origin, end=times[-1] - origin + 0.3, text=text, words=words, **figures)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("left", "left_times", "right", "right_times", "text", "doubt"),
    [
        (
            "We buy five blue",
            [9, 9.4, 9.8, 10.2],
            "five blue books.",
            [9.85, 10.2, 10.6],
            "We buy five blue books.",
            False,
        ),
        (
            "We buy Five, bl",
            [9, 9.4, 9.8, 10.3],
            "five blue books.",
            [9.85, 10.2, 10.6],
            "We buy Five, blue books.",
            False,
        ),
        ("no no no no", [9.0, 9.4, 9.8, 10.2], "no no stop", [9.8, 10.2, 10.6], "no no no no stop", False),
        ("We buy two", [9, 9.4, 9.75], "too many books.", [9.8, 10.2, 10.6], "We buy two many books.", True),
        ("We buy", [9, 9.4], "many books.", [10.2, 10.6], "We buy many books.", False),
        ("We buy so", [9, 9.4, 10.0], "many books.", [10.4, 10.8], "We buy so many books.", True),
        ("We", [9], "buy many books.", [9.65, 10.2, 10.6], "We buy many books.", True),
    ],
    ids=["anchor", "truncated", "repeated", "reworded", "pause", "only left heard it", "only right heard it"],
)
def test_seams(
    left: str, left_times: list[float], right: str, right_times: list[float], text: str, doubt: bool
) -> None:
    merged = cut_at_ten(left, right, left_times, right_times)
    assert " ".join(s.text for s in merged.segments) == text
    assert any("dropped_words_possible" in s.flags for s in merged.segments) is doubt


def test_a_failed_neighbour_leaves_the_text_as_it_was() -> None:
    chunk = Chunk(index=4, start=0, end=10 * S, regions=(Region(start=0, end=10 * S + S // 2),), overlap_after=S // 2)
    merged = merge([Piece(chunk=chunk, segments=(phrase("to the end", [9.5, 9.9, 10.2], 0.0),))])
    assert [s.text for s in merged.segments] == ["to the end"]


SPLICED = Chunk(
    index=0, start=0, end=100 * S, regions=(Region(start=10 * S, end=15 * S), Region(start=60 * S, end=70 * S))
)


def test_times_are_mapped_back_over_a_spliced_hole() -> None:
    inside = phrase("one two three", [4.0, 4.4, 4.9], 0.0)
    after = phrase("four five", [4.9, 5.5], 0.0)
    crossing = phrase("six seven", [4.5, 5.5], 0.0)
    (a, b) = merge([Piece(chunk=SPLICED, segments=(inside, after))]).segments
    assert (a.start, a.end) == (14.0, 15.0)  # reached 0.2 s into the silence behind the join
    assert (b.start, b.end) == (60.0, 60.8)  # began in the silence before it
    (c, d) = merge([Piece(chunk=SPLICED, segments=(crossing,))]).segments
    assert [(s.start, s.end, s.text) for s in (c, d)] == [(14.5, 14.8, "six"), (60.5, 60.8, "seven")]
    assert (d.words[0].start, d.words[0].end) == (60.5, 60.8)
    (whole,) = merge([Piece(chunk=SPLICED, segments=(replace(crossing, words=()),))]).segments
    assert (whole.start, whole.end, whole.text) == (14.5, 60.8, "six seven")
    assert needs_words(SPLICED)
    assert not needs_words(replace(SPLICED, regions=SPLICED.regions[:1]))


def test_overlapping_and_backward_times_are_put_in_order() -> None:
    chunk = Chunk(index=0, start=0, end=30 * S, regions=(Region(start=0, end=30 * S),))
    texts = (
        Segment(start=0, end=6, text=" One  "),
        Segment(start=4, end=5, text="two\n "),
        Segment(start=50, end=40, text="three"),
    )
    merged = merge([Piece(chunk=chunk, segments=(*texts, Segment(start=29, end=30, text="  ")))])
    assert [(s.start, s.end, s.text) for s in merged.segments] == [(0, 5, "One"), (5, 5, "two"), (30, 30, "three")]


def test_flags() -> None:
    chunk = Chunk(index=0, start=0, end=30 * S, regions=(Region(start=0, end=30 * S),))
    figures = {"avg_logprob": -1.2, "compression_ratio": 2.5, "no_speech_prob": 0.7}
    bad = Segment(start=0, end=5, text="What?", **figures)  # type: ignore[arg-type]
    good = Segment(start=5, end=9, text="Yes.", avg_logprob=-0.2, compression_ratio=0.9, no_speech_prob=0.01)
    merged = merge([Piece(chunk=chunk, segments=(bad, good))])
    assert [s.flags for s in merged.segments] == [("low_confidence", "repetition", "no_speech_likely"), ()]
    assert merged.warnings == ()  # the detector hears speech: flagged, never dropped


def test_loops() -> None:
    assert is_loop("Thank you. " * 4)
    assert is_loop("and so " + "I think that " * 5 + "yes")
    assert is_loop("so " * 6)
    assert not is_loop("No, no, no, no! Five five seven two two five.")


@pytest.mark.parametrize(
    "text",
    [
        "ご視聴ありがとうございました" * 4,
        "はい、" * 6,
        "あ" * 10,
        "字幕由志愿者提供。" * 4,
        "谢谢大家!" + "谢谢" * 6,
        "OK我们走吧" * 4,
        "ขอบคุณที่รับชม" * 4,
        "ສະບາຍດີ" * 6,
        "ကျေးဇူးတင်ပါတယ်။" * 4,
    ],
)
def test_loops_where_words_have_no_blanks_between_them(text: str) -> None:
    assert is_loop(text)
    assert is_loop(f"今日は{text}終わり")


@pytest.mark.parametrize(
    "text",
    [
        "はい、はい、はい、はい。そうそうそうそう、いろいろあって、だんだん良くなってきました。",
        "ドキドキドキドキしながら待っていたら、ハハハハハハと笑われた。",
        "对对对对对对,哈哈哈哈哈哈哈,好的好的好的,我们慢慢来,高高兴兴地去。",
        "电话号码是八八八八六六六六,价格是10000000000元。",
        "四是四,十是十,十四是十四,四十是四十,十四不是四十,四十不是十四。",
        "すもももももももものうち。にわにはにわにわとりがいる。",
        "吃葡萄不吐葡萄皮,不吃葡萄倒吐葡萄皮。",
        "ครับครับครับ ต่างๆ นานา เรื่อยๆ 55555555555",
    ],
)
def test_ordinary_text_without_blanks_is_no_loop(text: str) -> None:
    assert not is_loop(text)


@pytest.mark.parametrize(
    ("speech", "no_speech", "logprob", "dropped"),
    [
        (0.3, 0.9, -1.5, True),
        (2.0, 0.9, -1.5, False),
        (0.3, 0.2, -1.5, False),
        (0.3, 0.9, -0.4, False),
        (0.3, None, -1.5, False),
    ],
)
def test_text_is_dropped_only_when_detector_and_model_agree(
    speech: float, no_speech: float | None, logprob: float, dropped: bool
) -> None:
    heard = Region(start=5 * S, end=round((5 + speech + 0.6) * S))
    chunk = Chunk(index=0, start=0, end=60 * S, regions=(heard,))
    text = Segment(start=0, end=0.8, text="Thank you for watching!", avg_logprob=logprob, no_speech_prob=no_speech)
    merged = merge([Piece(chunk=chunk, segments=(text,))])
    assert (merged.segments == ()) is dropped
    assert [w.code for w in merged.warnings] == ["dropped_hallucination"] * dropped
    assert not any("Thank" in w.message for w in merged.warnings)


def test_word_times_that_the_model_did_not_give_are_interpolated_for_the_seam_only() -> None:
    times = [(0.0, 0.4), (None, None), (None, None), (1.4, 2.0)]
    words = tuple(
        Word(word=w, start=a, end=b, probability=None) for w, (a, b) in zip("a bbb 37 d".split(), times, strict=True)
    )
    segment = Segment(start=0, end=2, text="a bbb 37 d", words=words)
    filled = placed_words(segment)
    assert [t.start for t in filled] == sorted(t.start for t in filled)
    assert filled[1].start == 0.4 and filled[2].end == pytest.approx(1.4)
    chunk = Chunk(index=0, start=0, end=30 * S, regions=(Region(start=0, end=30 * S),))
    assert merge([Piece(chunk=chunk, segments=(segment,))]).segments[0].words[1].start is None


def test_nothing_is_capped() -> None:
    chunk = Chunk(index=0, start=0, end=30 * S, regions=(Region(start=0, end=30 * S),))
    many = tuple(Segment(start=n / 1000, end=(n + 1) / 1000, text=str(n)) for n in range(20_000))
    assert len(merge([Piece(chunk=chunk, segments=many)]).segments) == 20_000
