"""Everything about the own engine build but the compiling, with copies of the wheel's library as the build."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import EngineUnavailable
from testbed.audio_bank import speech
from whisper import DEMO_MODEL
from whisper.library.libraries import Library, candidates
from whisper.workshop.build import SOURCE_SHA256, TOOLS, adopt, build_flags, collect, file_away, judge, switch
from whisper.workshop.inflate import inflate
from whisper.workshop.measure import Figures, measure

MODEL = DEMO_MODEL
FACTS: dict[str, Any] = {"version": "1.8.5", "source": "the wheel", "flags": {}}
WHEEL = next(library for library in candidates(None, None) if library.kind == "wheel")


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """The wheel's library in a folder of its own, where a build would have put it."""
    folder = tmp_path / "staged"
    folder.mkdir()
    for file in (*WHEEL.directory.glob("libwhisper*"), *WHEEL.directory.glob("libggml*")):
        shutil.copy2(file, folder / file.name, follow_symlinks=False)
    shutil.copytree(WHEEL.directory / "pywhispercpp.libs", folder / "pywhispercpp.libs")
    return folder


def figures(cpu: float, text: str = "one two") -> dict[str, Figures]:
    return {"m": Figures(audio_seconds=60, cpu_seconds=cpu, wall_seconds=cpu, text=text)}


def test_only_a_faster_build_with_the_same_text_is_kept() -> None:
    assert judge(figures(5), figures(10)) == (
        True,
        "The own build is 2.00 times as fast as the wheel with m (5.0 s against 10.0 s)",
    )
    several = [
        figures(2) | {"f16": one, "q8_0": two}
        for one, two in ((figures(4)["m"], figures(3)["m"]), (figures(6)["m"], figures(9)["m"]))
    ]
    assert (
        judge(*several)[1]
        == "The own build is 3.00 times as fast as the wheel with q8_0 (3.0 s against 9.0 s), 1.50 times with f16"
    )
    assert judge(figures(10), figures(10))[0] is False
    kept, why = judge(figures(1, "one too"), figures(10))
    assert not kept and "another text" in why
    assert judge(figures(5), None)[0] is True


def test_a_build_is_tested_and_measured_against_the_wheel(staged: Path, tmp_path: Path) -> None:
    """The same library twice: either verdict may come, but not another text."""
    engine_dir, said = tmp_path / "engines", []
    engine_dir.mkdir()
    record = adopt(staged, engine_dir, FACTS, models=[MODEL], pcm=speech(0.2, seed=5)[0], progress=said.append)
    own, wheel = record["figures"]["own"][0], record["figures"]["wheel"][0]
    assert own["text_sha256"] == wheel["text_sha256"]
    assert 0 < own["cpu_seconds"] < 30 and own["audio_seconds"] == pytest.approx(12)
    assert "faster" in record["verdict"] or "as fast" in record["verdict"]
    assert said == [
        f"{record['verdict']}: {(engine_dir / 'current').resolve() if record['kept'] else 'the wheel stays in use'}"
    ]


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_kept_is_put_to_use_and_what_is_not_leaves_a_record(staged: Path, tmp_path: Path, kept: bool) -> None:
    engine_dir = tmp_path / "engines"
    engine_dir.mkdir()
    target = file_away(staged, engine_dir, FACTS | {"kept": kept, "shares_cores": True})
    assert json.loads((target / "record.json").read_text())["bytes"] > 1_000_000
    found = {library.kind: library.shares_cores for library in candidates(None, engine_dir)}
    assert found == ({"own": True, "wheel": False} if kept else {"wheel": False})
    assert (len(list(target.iterdir())) > 4) is kept
    assert not staged.exists()


def test_a_build_that_does_not_run_changes_nothing(staged: Path, tmp_path: Path) -> None:
    library = (staged / "libwhisper.so.1").resolve()
    library.write_bytes(library.read_bytes()[:10_000])
    engine_dir = tmp_path / "engines"
    engine_dir.mkdir()
    with pytest.raises(EngineUnavailable):
        adopt(staged, engine_dir, FACTS, models=[MODEL], pcm=speech(0.1)[0])
    assert list(engine_dir.iterdir()) == []


def test_switching_keeps_the_build_that_may_still_run(tmp_path: Path) -> None:
    builds = [tmp_path / f"1.8.5-{letter}" for letter in "abc"]
    for build in builds:
        build.mkdir()
        switch(tmp_path, build)
        assert (tmp_path / "current").resolve() == build
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.8.5-b", "1.8.5-c", "current"]


def test_collect_takes_the_libraries_of_a_build_tree_with_their_links(tmp_path: Path) -> None:
    tree = tmp_path / "build" / "src"
    tree.mkdir(parents=True)
    (tree / "libwhisper.so.1.8.5").write_bytes(b"x")
    (tree / "libwhisper.so.1").symlink_to("libwhisper.so.1.8.5")
    (tree / "whisper.o").write_bytes(b"x")
    collect(tmp_path / "build", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["libwhisper.so.1", "libwhisper.so.1.8.5"]
    assert (tmp_path / "out" / "libwhisper.so.1").is_symlink()
    (tmp_path / "empty").mkdir()
    with pytest.raises(EngineUnavailable):
        collect(tmp_path / "empty", tmp_path / "none")


def test_everything_fetched_is_pinned_by_hash() -> None:
    lock = TOOLS.read_text()
    pins = re.findall(r"^([\w-]+)==", lock, re.MULTILINE)
    assert {"cmake", "ninja", "ziglang", "setuptools", "setuptools-scm"} <= set(pins)
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[\w-]+==)", lock, flags=re.MULTILINE)[1:])
    assert "://" not in lock
    assert re.fullmatch("[0-9a-f]{64}", SOURCE_SHA256)
    assert build_flags(portable=False)["GGML_NATIVE"] == "ON"
    assert build_flags(portable=True)["GGML_CPU_ALL_VARIANTS"] == "ON"


def test_an_inflated_model_says_the_same_at_the_cost_of_a_real_one(tmp_path: Path) -> None:
    pcm, large = speech(0.15, seed=5)[0], tmp_path / "base.bin"
    inflate(MODEL, large, "base")
    assert 140e6 < large.stat().st_size < 155e6
    small, big = (measure(WHEEL, model, pcm, passes=1) for model in (MODEL, large))
    assert small.text == big.text != ""
    assert big.cpu_seconds > 3 * small.cpu_seconds


def test_a_measurement_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="no libwhisper"):
        measure(Library(kind="own", directory=tmp_path, version=""), MODEL, speech(0.1)[0])
