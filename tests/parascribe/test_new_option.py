"""A new option is one entry in the table: here there is one more, and everything knows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from core.errors import ValidationFailed
from core.jobs.params import JobParams
from core.options import about, options
from core.submission.checks import check, fingerprint
from core.transcript.shaping import Shaping
from parascribe.cli.commands.job_options import with_options
from parascribe.cli.commands.transcribe import transcribe_command
from parascribe.client.bodies import KnownSpeaker, Look, Params
from parascribe.client.client import Client
from tests.api.serving import BUNDLED, Service, service, wav
from tests.api.test_submit import refused
from whisper.models.store import ModelStore


@dataclass(frozen=True, kw_only=True)
class Table(JobParams):
    """The options of jobs and one more."""

    melody: int = field(default=0, metadata=about("How much of it is sung.", ge=0, le=10, example=3))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, options=Table) as running:
        yield running


def test_the_form_takes_it_and_the_job_has_it(running: Service) -> None:
    job = running.submit(melody="7", language="de").json()
    assert (job["params"]["melody"], job["params"]["language"]) == (7, "de")
    stored = running.store.get(job["id"]).params
    assert Table.from_dict(stored.to_dict()) == Table(model="base", language="de", melody=7)
    again = running.client.post(job["links"]["cancel"])
    assert again.json()["params"]["melody"] == 7
    assert running.client.post(job["links"]["self"] + "/retry").json()["params"] == job["params"]


@pytest.mark.parametrize("nonsense", ["11", "-1", "much"])
def test_the_form_refuses_what_it_cannot_be(running: Service, nonsense: str) -> None:
    problem = refused(running.submit(melody=nonsense), 422, "validation")
    assert [error["field"] for error in problem["errors"]] == ["melody"]
    assert not running.keys


def test_json_takes_it(tmp_path: Path) -> None:
    models = ModelStore(tmp_path, BUNDLED)
    assert check(Table, {"melody": 7}, models, default_model="base") == Table(model="base", melody=7)
    with pytest.raises(ValidationFailed, match="^melody: Input should be less than or equal to 10$"):
        check(Table, {"melody": 11}, models, default_model="base")


def test_the_description_has_it(running: Service) -> None:
    schema = running.client.get("/openapi.json").json()
    form = schema["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    expected = {
        "type": "integer",
        "title": "Melody",
        "description": "How much of it is sung.",
        "minimum": 0,
        "maximum": 10,
        "default": 0,
    }
    assert form["properties"]["melody"] == expected
    assert schema["components"]["schemas"]["ParamsBody"]["properties"]["melody"] == expected | {"examples": [3]}


def test_the_command_line_has_it(running: Service, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(with_options(Table, before="wait")(transcribe_command))
    file = tmp_path / "talk.wav"
    file.write_bytes(wav())
    asked = [str(file), "--no-wait", "--url", f"http://127.0.0.1:{running.port}", "--melody"]
    done = CliRunner().invoke(app, [*asked, "7"])
    assert done.exit_code == 0, done.output
    assert running.store.get(done.stdout.strip()).params.shown()["melody"] == 7
    refusal = CliRunner().invoke(app, [*asked, "11"])
    assert (refusal.exit_code, "melody: Input should be less than or equal to 10" in refusal.output) == (1, True)
    assert "How much of it is sung. [0 to 10]" in " ".join(
        word for word in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "500"}).output.split()
    )


def test_the_client_sends_it(running: Service, tmp_path: Path) -> None:
    file = tmp_path / "talk.wav"
    file.write_bytes(wav())
    more: Any = {"melody": 7}
    with Client(f"http://127.0.0.1:{running.port}") as client:
        assert client.submit(file, **more)["params"]["melody"] == 7


def test_what_does_not_use_it_is_what_it_was() -> None:
    before, after = JobParams(model="base", language="de"), Table(model="base", language="de")
    assert before.to_dict() == after.to_dict()
    assert fingerprint("0" * 64, before) == fingerprint("0" * 64, after)
    assert fingerprint("0" * 64, after) != fingerprint("0" * 64, Table(model="base", language="de", melody=1))


def test_the_client_s_types_are_those_of_the_table() -> None:
    """mypy has to see them, so they are written out a second time."""

    def kinds(annotation: Any) -> set[Any]:
        return set(get_args(annotation) or (annotation,)) - {NoneType}

    for table, types in ((JobParams, Params), (Shaping, Look)):
        written = {name: kinds(annotation) for name, annotation in get_type_hints(types).items()}
        if table is JobParams:  # samples come from files, which the table knows nothing of
            assert written.pop("known_speakers") == {Sequence[KnownSpeaker]}
        table_has = {option.name: kinds(option.annotation) for option in options(table)}
        assert written == {name: kind for name, kind in table_has.items() if name != "known_speakers"}
    assert not {*get_type_hints(Params)} & {*get_type_hints(Look)}, "one command takes both"
