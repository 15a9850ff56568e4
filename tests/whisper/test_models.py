from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path

import pytest

from core.errors import ModelInvalid, ModelUnavailable, UnknownModel, ValidationFailed
from tests.whisper.model_server import CATALOGUE, INFO, QUANTISED
from whisper import DATA
from whisper.models import catalogue
from whisper.models.store import ModelStore

BUNDLED = DATA / "models"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", BUNDLED, catalogue=CATALOGUE)


def put(store: ModelStore, name: str = INFO.filename, *, change: tuple[int, bytes] | None = None) -> Path:
    store.folder.mkdir(exist_ok=True)
    path = store.folder / name
    shutil.copyfile(QUANTISED, path)
    if change:
        with path.open("r+b") as file:
            file.seek(change[0])
            file.write(change[1])
    return path


def test_the_catalogue_knows_what_each_model_can_do() -> None:
    models = catalogue.CATALOGUE
    assert len(models) == 35
    assert all(re.fullmatch("[0-9a-f]{64}", m.sha256 or "") for m in models.values())
    assert {n for n, m in models.items() if not m.multilingual} == {n for n in models if ".en" in n}
    turbo = {n for n, m in models.items() if m.multilingual and not m.translates}
    assert turbo == {"large-v3-turbo", "large-v3-turbo-q5_0", "large-v3-turbo-q8_0"}
    assert {m.family for m in models.values()} == {
        "demo",
        "tiny",
        "base",
        "small",
        "medium",
        "large-v1",
        "large-v2",
        "large-v3",
        "large-v3-turbo",
    }


def test_the_bundled_model_is_what_the_catalogue_says(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, BUNDLED)
    assert store.validate("demo").path == BUNDLED / "ggml-demo.bin"
    with pytest.raises(ValidationFailed):
        store.remove("demo")


@pytest.mark.parametrize(
    ("name", "hint"), [("larg-v3-turbo", "large-v3-turbo"), ("Base", "base"), ("base-en", "base.en")]
)
def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(UnknownModel, match=f"Did you mean .*{hint}"):
        ModelStore(tmp_path, BUNDLED).info(name)


@pytest.mark.parametrize(
    "name", ["", "../demo", "/etc/passwd", "local:../models/ggml-x", "local:", "local:.x", "demo\0", "local:base"]
)
def test_names_are_no_paths(tmp_path: Path, name: str) -> None:
    (tmp_path / "ggml-base.bin").write_bytes(b"")  # a catalogue name cannot be had unpinned
    with pytest.raises(UnknownModel):
        ModelStore(tmp_path, BUNDLED).path(name)


def test_size_then_digest_then_header_decide(store: ModelStore) -> None:
    with pytest.raises(ModelUnavailable):
        store.validate(INFO.name)
    path = put(store)
    assert store.validate(INFO.name).sha256 == INFO.sha256
    put(store, change=(5_000_000, b"\x99"))
    with pytest.raises(ModelInvalid, match="SHA-256"):
        store.validate(INFO.name)
    path.write_bytes(QUANTISED.read_bytes()[:-1])
    with pytest.raises(ModelInvalid, match="10803592 bytes instead of 10803593"):
        store.validate(INFO.name)


def test_a_file_is_hashed_once_for_all_processes_until_it_changes(store: ModelStore) -> None:
    path = put(store)
    assert store.validated(INFO.name) is None
    store.validate(INFO.name)
    other = ModelStore(store.folder, BUNDLED, catalogue=CATALOGUE)  # as another process would see it
    found = other.validated(INFO.name)
    assert found is not None and found.sha256 == INFO.sha256
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert other.validated(INFO.name) is None and store.validated(INFO.name) is None


def test_paths_hold_in_another_working_directory(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store)
    monkeypatch.chdir(store.folder.parent)
    relative = ModelStore(Path("models"), BUNDLED, catalogue=CATALOGUE)
    monkeypatch.chdir("/")
    assert relative.validate(INFO.name).path == store.folder / INFO.filename


def test_a_broken_note_of_a_digest_only_costs_another_hash(store: ModelStore) -> None:
    put(store)
    store.validate(INFO.name)
    next((store.folder / ".digests").iterdir()).write_text('{"key": 7')
    other = ModelStore(store.folder, BUNDLED, catalogue=CATALOGUE)
    assert other.validated(INFO.name) is None
    assert other.validate(INFO.name).sha256 == INFO.sha256


def test_the_operators_own_file_is_local_and_unpinned(store: ModelStore, caplog: pytest.LogCaptureFixture) -> None:
    put(store, "ggml-mine.bin")
    put(store, "ggml-english.bin", change=(4, (51_864).to_bytes(4, "little")))
    put(store, "ggml-silero.bin", change=(4, (3).to_bytes(4, "little")))
    assert store.info("local:mine").translates
    assert not store.info("local:english").multilingual and not store.info("local:english").translates
    with caplog.at_level(logging.WARNING):
        assert store.validate("local:mine").path.name == "ggml-mine.bin"
    assert "unpinned" in caplog.text
    with pytest.raises(ModelInvalid, match="not a whisper model"):
        store.info("local:silero")
    with pytest.raises(UnknownModel, match="local:english"):
        store.info("local:none")
    listed = {status.info.name: status for status in store.list()}
    assert set(listed) == {INFO.name, "local:mine", "local:english"}
    assert listed["local:mine"].verified and not listed["local:mine"].pinned
    assert listed["local:english"].verified is None
    assert not listed[INFO.name].installed and listed[INFO.name].bytes == INFO.bytes


def test_remove_takes_everything_that_belongs_to_the_model(store: ModelStore) -> None:
    put(store)
    store.validate(INFO.name)
    store.part(INFO).write_bytes(b"lmgg")
    assert store.remove(INFO.name) is True
    assert [p for p in store.folder.rglob("*") if p.is_file()] == []
    assert store.remove(INFO.name) is False


def test_what_cannot_be_read_is_shown_as_broken_and_hides_nothing(store: ModelStore) -> None:
    put(store, "ggml-mine.bin")
    (store.folder / "ggml-nas.bin").symlink_to("/nowhere/ggml-nas.bin")
    (store.folder / "ggml-loop.bin").symlink_to("ggml-loop.bin")
    (store.folder / "ggml-mem.bin").symlink_to("/proc/self/mem")  # opens, and has an I/O error where it begins
    (store.folder / "ggml-folder.bin").mkdir()
    os.mkfifo(store.folder / "ggml-pipe.bin")  # whoever opened it would wait for ever
    (store.folder / INFO.filename).symlink_to("/nowhere")
    broken = {INFO.name, "local:folder", "local:loop", "local:mem", "local:nas", "local:pipe"}
    listed = {status.info.name: status for status in store.list() if status.installed}
    assert set(listed) == broken | {"local:mine"}
    assert {name for name, status in listed.items() if status.verified is False} == broken
    assert store.validate("local:mine")
    with pytest.raises(UnknownModel, match="local:mine") as unknown:
        store.info("local:none")
    assert str(store.folder) not in unknown.value.message
    for name in broken - {INFO.name}:
        with pytest.raises(ModelInvalid) as invalid:
            store.validate(name)
        assert str(store.folder) not in invalid.value.message
    assert store.remove("local:nas")
    assert not os.path.lexists(store.folder / "ggml-nas.bin")


def test_a_models_folder_that_is_none_holds_no_models(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"")
    assert [
        status.info.name for status in ModelStore(tmp_path / "models", BUNDLED, catalogue=CATALOGUE).list()
    ] == list(CATALOGUE)
