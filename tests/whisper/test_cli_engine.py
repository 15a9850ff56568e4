"""The executable engine against a program that misbehaves in every way whisper-cli is known to."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

import whisper
from core.errors import ChunkFailed, EngineUnavailable
from tests.whisper.engine_parts import wait_for
from whisper import DEMO_MODEL
from whisper.engine.cli_engine import CliEngine
from whisper.engine.cli_program import read_output
from whisper.types import Call, ChunkTranscript, TranscribeOptions

MODEL = str(DEMO_MODEL)
EN = TranscribeOptions(language="en")

#: what the fake does with a file is said by its first sample
GOOD, SLOW, HANG, CRASH, SKIP, HELD = 1, 2, 3, 4, 5, 6

FAKE = """#!{python} -I
import json, os, signal, sys, time, wave
if "--help" in sys.argv:
    print("usage: -m FNAME -f FNAME -l LANG -t N -oj -ojf -np", file=sys.stderr)
    sys.exit(0)
here = os.path.dirname(os.path.abspath(__file__))
files = [sys.argv[i + 1] for i, word in enumerate(sys.argv) if word == "-f"]
with open(here + "/log", "a") as log:
    print(json.dumps(dict(files=len(files), cwd=os.listdir("."), environ=sorted(os.environ), argv=sys.argv[1:])), file=log)
for file in files:
    with wave.open(file) as sound:
        what = int.from_bytes(sound.readframes(1), "little")
    if what == 2: time.sleep(1.0)
    for _ in range(6000 if what == 6 and not os.path.exists(here + "/go") else 0):
        if os.path.exists(here + "/go"): break
        time.sleep(0.01)
    if what == 3: time.sleep(60)
    if what == 4: os.kill(os.getpid(), signal.SIGSEGV)
    if what == 5: print("error: failed to read WAV", file=sys.stderr); continue
    token = lambda t: dict(text=t, p=0.5, id=7)
    out = dict(result=dict(language="en"), transcription=[dict(
        text=" word %d" % what, offsets={{"from": 200, "to": 29340}}, tokens=[token("[_BEG_]"), token(" word"), token(" %d" % what), token("[_TT_50]")])])
    with open(file + ".json", "w") as target:
        target.write(json.dumps(out))
sys.exit(0)
"""


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "fake-cli"
    program.parent.mkdir()
    program.write_text(FAKE.format(python=sys.executable))
    program.chmod(0o755)
    return program


def clip(what: int, seconds: float = 2.0) -> np.ndarray:
    pcm = np.zeros(int(seconds * 16_000), np.int16)
    pcm[0] = what
    return pcm


def log_of(program: Path) -> list[dict]:
    return [json.loads(line) for line in (program.parent / "log").read_text().splitlines()]


def running(program: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if str(program) in process.cmdline():
                found.append(process)
    return found


def outcome(call: Future[ChunkTranscript]) -> str:
    error = call.exception(60)
    return type(error).__name__ if error else call.result().text


def together(engine: CliEngine, program: Path, kinds: list[int], timeout: float = 3.0) -> list[str]:
    """Outcomes of chunks that had to wait for each other, so that they were handed over in batches."""
    with ThreadPoolExecutor(len(kinds) + 1) as pool:
        first = pool.submit(engine.transcribe, MODEL, clip(HELD), EN)
        deadline = time.monotonic() + 20
        while not (program.parent / "log").exists() and time.monotonic() < deadline:
            time.sleep(0.01)  # the others must come while it is at work
        calls = []
        for kind in kinds:
            calls.append(pool.submit(engine.transcribe, MODEL, clip(kind), EN, Call(timeout=timeout)))
            while engine.waiting < len(calls) and time.monotonic() < deadline:
                time.sleep(0.01)
        (program.parent / "go").touch()
        assert outcome(first) == "word 6"
        return [outcome(call) for call in calls]


def test_waiting_chunks_share_a_process(fake: Path, tmp_path: Path) -> None:
    engine = CliEngine(fake, tmp_path / "work")
    assert together(engine, fake, [GOOD] * 5) == ["word 1"] * 5
    assert [run["files"] for run in log_of(fake)] == [1, 4, 1]
    engine.close()


@pytest.mark.parametrize(("bad", "error"), [(HANG, "ChunkTimeout"), (CRASH, "ChunkFailed"), (SKIP, "ChunkFailed")])
def test_one_bad_chunk_costs_nobody_else_theirs(fake: Path, tmp_path: Path, bad: int, error: str) -> None:
    engine = CliEngine(fake, tmp_path / "work")
    assert together(engine, fake, [GOOD, bad, GOOD, GOOD]) == ["word 1", error, "word 1", "word 1"]
    engine.close()
    assert not running(fake)
    assert not list((tmp_path / "work").glob("batch-*"))


def test_failures_say_what_happened(fake: Path, tmp_path: Path) -> None:
    engine = CliEngine(fake, tmp_path / "work")
    with pytest.raises(ChunkFailed, match="killed by signal 11") as crash:
        engine.transcribe(MODEL, clip(CRASH), EN)
    assert crash.value.details["signal"] == 11
    with pytest.raises(ChunkFailed, match="failed to read WAV"):
        engine.transcribe(MODEL, clip(SKIP), EN)


def test_the_program_sees_an_empty_folder_and_no_secrets(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIO_SECRET_KEY", "secret")
    engine = CliEngine(fake, tmp_path / "work", threads=3)
    said = engine.transcribe(
        MODEL, clip(GOOD), TranscribeOptions(language="de", prompt="-f /etc/passwd", word_timestamps=True)
    )
    assert (said.segments[0].start, said.segments[0].end) == (0.2, 2.0), "an end beyond the audio is clamped"
    assert [word.word for word in said.segments[0].words] == ["word", "1"]
    run = log_of(fake)[-1]
    assert run["cwd"] == [] and "MINIO_SECRET_KEY" not in run["environ"]
    argv = run["argv"]
    assert argv[argv.index("--prompt") + 1] == "-f /etc/passwd" and argv[argv.index("-mc") + 1] == "224"
    assert argv[argv.index("-t") + 1] == "3" and "-tpi" not in argv, "only flags that the help names"


def test_processes_of_all_forks_share_the_places(fake: Path, tmp_path: Path) -> None:
    """Two engines over one folder, as in two job processes: one worker means one process at a time."""
    engines = [CliEngine(fake, tmp_path / "work") for _ in range(2)]
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, len(running(fake)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda i: engines[i % 2].transcribe(MODEL, clip(SLOW), EN).text, range(4)))
    done.set()
    watcher.join()
    assert most == 1


def test_a_killed_job_process_leaves_nothing_behind(fake: Path, tmp_path: Path) -> None:
    engine = CliEngine(fake, tmp_path / "work")
    fork = multiprocessing.get_context("fork")
    job = fork.Process(target=engine.transcribe, args=(MODEL, clip(HANG), EN))
    job.start()
    deadline = time.monotonic() + 10
    while not (fake.parent / "log").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    (program,) = psutil.Process(job.pid).children()
    job.kill()
    job.join()
    psutil.wait_procs([program], timeout=10)
    assert not program.is_running()
    assert engine.transcribe(MODEL, clip(GOOD), EN).text == "word 1", "its place is free again"
    engine.close()  # the answer comes before its own batch is cleared away
    assert not list((tmp_path / "work").glob("batch-*"))


def test_two_that_clear_away_the_same_folder_do_not_trip_over_each_other(fake: Path, tmp_path: Path) -> None:
    """Left by a job process that was killed, and found by two batches at once."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    engines = [CliEngine(fake, tmp_path / "work", workers=2) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for number in range(50):
                old = tmp_path / "work" / f"batch-{ended.pid}-{number}"
                old.mkdir(exist_ok=True)
                (old / "0.wav").touch()
            calls = [pool.submit(engine.transcribe, MODEL, clip(GOOD), EN) for engine in engines]
            assert [call.result(60).text for call in calls] == ["word 1"] * 2
    for engine in engines:
        engine.close()
    assert not list((tmp_path / "work").glob("batch-*"))


def test_closing_stops_what_runs_and_what_waits(fake: Path, tmp_path: Path) -> None:
    engine = CliEngine(fake, tmp_path / "work")
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(engine.transcribe, MODEL, clip(HANG), EN)]
        wait_for(lambda: (fake.parent / "log").exists(), 20)
        calls.append(pool.submit(engine.transcribe, MODEL, clip(HANG), EN))
        wait_for(lambda: engine.waiting, 20)
        engine.close()
        assert [outcome(call) for call in calls] == ["EngineUnavailable"] * 2
    assert not running(fake)
    assert engine.transcribe(MODEL, clip(GOOD), EN).text == "word 1", "the next job's"
    engine.close()


def test_a_chunk_whose_caller_has_left_is_not_handed_over_again(fake: Path, tmp_path: Path) -> None:
    """Two share a process; the second's caller leaves before its turn, then the process is stopped for the first's."""
    engine = CliEngine(fake, tmp_path / "work")
    cancels = [threading.Event() for _ in range(2)]
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(engine.transcribe, MODEL, clip(HELD), EN)
        wait_for(lambda: (fake.parent / "log").exists(), 20)
        calls = []
        for cancel in cancels:
            calls.append(pool.submit(engine.transcribe, MODEL, clip(HANG), EN, Call(cancel=cancel)))
            wait_for(lambda: engine.waiting == len(calls), 20)
        (fake.parent / "go").touch()
        assert outcome(first) == "word 6"
        wait_for(lambda: len(log_of(fake)) == 2, 20)
        for cancel, call in zip(reversed(cancels), reversed(calls), strict=True):
            cancel.set()
            assert outcome(call) == "Cancelled"
    wait_for(lambda: not any(thread.name == "whisper-cli" for thread in threading.enumerate()), 20)
    assert engine.waiting == 0


def test_a_full_disk_is_said(fake: Path, tmp_path: Path) -> None:
    """In a process of its own, whose every attempt to make a file of audio finds no space."""
    code = (
        "import errno, os, sys\nfrom pathlib import Path\n"
        "import numpy as np\nfrom core.errors import DiskFull\nfrom whisper.engine.cli_engine import CliEngine\n"
        "from whisper.types import TranscribeOptions\n"
        "def full(event, args):\n"
        "    if event == 'open' and str(args[0]).endswith('.wav'): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "engine = CliEngine(Path(sys.argv[1]), Path(sys.argv[2]))\nsys.addaudithook(full)\n"
        "try: engine.transcribe(sys.argv[3], np.ones(480_000, np.int16), TranscribeOptions(language='en'))\n"
        "except DiskFull as error: assert sys.argv[2] in error.message\n"
        "else: sys.exit('there was space')\n"
        "engine.close()\nassert not list(Path(sys.argv[2]).glob('batch-*'))\n"
    )
    command = [sys.executable, "-c", code, str(fake), str(tmp_path / "work"), MODEL]
    subprocess.run(command, cwd=Path(whisper.__file__).parents[1], check=True)


@pytest.mark.parametrize("program", ["/nowhere/whisper-cli", "/bin/true", "/etc/hostname"])
def test_what_is_no_whisper_cli_is_refused_at_once(program: str, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="WHISPER_EXECUTABLE"):
        CliEngine(Path(program), tmp_path)


def test_broken_characters_and_control_codes_are_read(tmp_path: Path) -> None:
    output = tmp_path / "0.wav.json"
    output.write_bytes(
        b'{"result": {"language": "de"}, "transcription": [{"offsets": {"from": 0, "to": 900}, "text": " Z\xc3\xbcge\x01 \xe2\x82",'
        b' "tokens": [{"text": " Z\xc3", "id": 1, "p": 0.5}, {"text": "\xbcge", "id": 2, "p": 0.5}]}]}'
    )
    found = read_output(output, seconds=1.0, words=True)
    assert found is not None
    assert found.segments[0].text == "Züge\x01 \ufffd"
    assert [word.word for word in found.segments[0].words] == ["Züge"]
    output.write_bytes(output.read_bytes()[:-10])
    assert read_output(output, seconds=1.0, words=True) is None, "still being written"
