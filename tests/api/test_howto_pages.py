"""The examples of docs/how-to run as they stand, but for addresses and ids; those of clients/ in test_client_pages."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.objects.memory import MemoryObjects
from core.outbound.client import Outbound
from core.outbound.values import Rules
from core.queue.indexing import index_due
from core.submission.origins import Origins
from parascribe import Client
from parascribe.cli import main
from tests.api.consuming import LINES, consuming
from tests.api.keyed import keyed
from tests.api.serving import Service, wav
from tests.api.talks import Talk
from tests.api.test_voices import spoken
from tests.core.store_kit import open_store

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
ADDRESSES = ("http://127.0.0.1:8000", "localhost:8000", "https://speech.example")
SHELL = 'curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'


def blocks(page: str, language: str) -> list[str]:
    text = (PAGES / f"{page}.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """What stands behind each `$`, with the lines that it goes on in, without comments."""
    found = re.findall(
        r"^\$ ((?:.*\\\n)*.*)$", "\n".join(["", *blocks(page, "console")]).replace("\\\n", "\\\n"), re.MULTILINE
    )
    return [re.sub(r" +# .*$", "", command, flags=re.MULTILINE) for command in found]


class Page:
    """Runs a page's examples against a service."""

    def __init__(self, running: Service, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.running, self._folder, self._capsys = running, folder, capsys
        self.url = str(running.client.base_url).rstrip("/")

    def __call__(self, command: str, *, at: dict[str, str] | None = None, code: int = 0, **variables: str) -> str:
        """What it prints. at: what stands for something else in the page; code: how a command of ours ends."""
        for old, new in (dict.fromkeys(ADDRESSES, self.url) | (at or {})).items():
            command = command.replace(old, new)
        if command.startswith("parascribe "):
            ended = main(shlex.split(command)[1:])
            said = self._capsys.readouterr()
            assert ended == code, said.err
            return said.err if code else said.out
        done = subprocess.run(
            ["bash", "-ec", SHELL + command],
            cwd=self._folder,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "KEY": "none"} | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def python(self, code: str, **names: Any) -> dict[str, Any]:
        for address in ADDRESSES:
            code = code.replace(address, self.url)
        exec(compile(code, "page", "exec"), names)  # noqa: S102 it is our own page
        return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "here"
    (made / "recordings").mkdir(parents=True)
    for n, name in enumerate(("a.mp3", "b.mp3", "talk.mp4", "recordings/one.mp3", "recordings/two.mp3")):
        (made / name).write_bytes(wav(1000 + n))
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def begin(
    serve: Callable[..., Service], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Page]:
    def start(**parts: Any) -> Page:
        page = Page(serve(**parts), folder, capsys)
        monkeypatch.setenv("PARASCRIBE_URL", page.url)
        return page

    return start


def test_network(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    store = open_store(f"sqlite:///{tmp_path}/parascribe.db", None)
    create, limited, over_http, bearer, header, export, listed, serve, code, doctor = commands("network")
    assert (serve, doctor) == ("API_HOST=0.0.0.0 parascribe serve", "parascribe doctor")
    with keyed(tmp_path, store) as running:
        page = Page(running, folder, capsys)
        assert page("command " + code).strip() == "200"
    key = page(create).strip()
    assert key.startswith("psk_") and page(limited).startswith("psk_")
    with keyed(tmp_path, store) as running:
        page = Page(running, folder, capsys)
        assert json.loads(page(over_http, KEY=key))["key"].startswith("psk_")
        assert json.loads(page(bearer, KEY=key)) == json.loads(page(header, KEY=key)) == {"items": [], "next": None}
        assert page("command " + code).strip() == "401"
        assert export == "export PARASCRIBE_URL=https://speech.example PARASCRIBE_API_KEY=$KEY"
        monkeypatch.setenv("PARASCRIBE_URL", page.url)
        monkeypatch.setenv("PARASCRIBE_API_KEY", key)
        page(listed)
    store.close()


def test_batches(begin: Callable[..., Page], folder: Path) -> None:
    objects = MemoryObjects()
    page = begin(origins=Origins(web=Outbound(Rules()), bucket=objects.open, objects=objects), objects=objects)
    submit, status, retry, results, create, send, close, fetch, form, named = commands("batches")
    with consuming(page.running):
        told = page(submit)
        at = {"01a222c1-b43a-7671-a79c-53d74ef5b47c": told.strip()}
        assert re.search(r"^jobs: +2 total", page(status, at=at), re.MULTILINE)
        page.python(blocks("batches", "python")[0])
        with zipfile.ZipFile(folder / "texts.zip") as texts:
            assert sorted(texts.namelist()) == ["one.srt", "two.srt"]
        page(results, at=at)
        refused = page(retry, at=at, code=1)
        assert "nothing to retry" in refused
        batch = json.loads(page(create))["id"]
        at = {"01a222c1-...": batch, "01a222c1-{}": f"{batch}-{{}}"}
        page(send, at=at)
        assert json.loads(page(close, at=at))["counts"]["total"] == 2
        page(fetch, at=at)
        assert json.loads(page(form))["counts"]["total"] == 2
        batch = json.loads(page(named))
        assert batch["counts"]["total"] == 2 and json.loads(page(named))["id"] == batch["id"]


def test_edit(begin: Callable[..., Page]) -> None:
    page = begin()
    talk = Talk(page.running.store).whole(page.running.objects)
    for command in commands("edit"):
        said = page('edit() { sed -i s/Words/Worte/g "$1"; }\n' + command, ID=talk.id)
        if "revision=original" in command:
            assert "Words" in said
        elif "result" in command:
            assert "Worte" in said and "Words" not in said
    page.python(blocks("edit", "python")[0], Client=Client, job_id=talk.id)
    assert page.running.client.get(f"/api/v1/jobs/{talk.id}").json()["revision"] == 2


def test_follow(begin: Callable[..., Page], capsys: pytest.CaptureFixture[str]) -> None:
    page = begin()
    talk = Talk(page.running.store, chunks=8).whole(page.running.objects)
    events, changed, segments = commands("follow")
    said = page(events, ID=talk.id)
    assert re.findall("^event: (.*)$", said, re.MULTILINE) == ["job", "segments", "end"]
    assert json.loads(page(changed, ID=talk.id))["status"] == "completed"
    assert [one["id"] for one in json.loads(page(segments, ID=talk.id))["segments"]] == [12, 13, 14, 15]
    with Client() as client:
        page.python(blocks("follow", "python")[0], client=client, job={"id": talk.id})
    assert all(line in capsys.readouterr().out for line in LINES[:1])


def test_search(begin: Callable[..., Page]) -> None:
    page = begin()
    talk = Talk(page.running.store).whole(page.running.objects)
    index_due(page.running.store, page.running.objects, seconds=60)
    heard = {"budget": "words", "next+year": "0.0+s%C3%BC%C3%9F", "next year": "0.0 süß", "confer*": "wor*"}
    client, found, jobs = commands("search")
    assert talk.id in page(client, at=heard)
    assert talk.id in page(found, at=heard)
    assert talk.id in page(jobs, at=heard)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)  # tuspy leaves the file to the garbage collector
def test_sources(begin: Callable[..., Page], folder: Path) -> None:
    objects = MemoryObjects()
    web = Outbound(Rules(max_bytes=10**6))
    page = begin(origins=Origins(web=web, bucket=objects.open, objects=objects), objects=objects)
    address, key, create, look, send = commands("sources")
    assert json.loads(page(address))["params"]["word_timestamps"]
    assert json.loads(page(key))["source"]["filename"] == "talk.mp3"
    made = page.python(blocks("sources", "python")[0], key="none")
    assert page.running.client.get(f"/api/v1/jobs/{made['job']}").json()["params"]["language"] == "de"
    begun = page(create)
    found = re.search(r"^location: .*/(\S+)", begun, re.IGNORECASE | re.MULTILINE)
    assert found
    offset = re.search(r"upload-offset: (\d+)", page(look, ID=found[1]), re.IGNORECASE)
    assert offset
    sent = page(send, ID=found[1], OFFSET=offset[1])
    assert re.search("x-parascribe-job", sent, re.IGNORECASE)
    assert (
        len((folder / "talk.mp4").read_bytes())
        == page.running.client.get("/api/v1/jobs").json()["items"][0]["source"]["bytes"]
    )


def test_webhooks(begin: Callable[..., Page]) -> None:
    page = begin(check_url=Outbound(Rules()).check)
    with_curl, with_command, add, rotate, deliveries, redeliver = commands("webhooks")
    job = json.loads(page(with_curl))
    assert job["params"]["metadata"] == {"case": 4711}
    page(with_command)
    secret = page(add).strip()
    assert secret.startswith("whsec_")
    (message,) = blocks("webhooks", "json")
    assert json.loads(message).keys() == {"type", "timestamp", "data"}
    made = page.python(blocks("webhooks", "python")[0].replace("whsec_...", secret))
    with pytest.raises(WebhookVerificationError):
        made["received"](b"{}", dict.fromkeys(("webhook-id", "webhook-signature"), "x") | {"webhook-timestamp": "1"})
    assert Webhook(secret)
    assert page(rotate).startswith("whsec_")
    (hook,) = page.running.client.get("/api/v1/webhooks").json()["items"]
    Talk(page.running.store, made=False).whole(page.running.objects)
    (told,) = page.running.client.get(f"/api/v1/webhooks/{hook['id']}/deliveries").json()["items"]
    page(deliveries, at={" ID ": f" {hook['id']} "})
    page(redeliver, at={" ID ": f" {hook['id']} ", "DELIVERY": told["id"]})


def test_speakers(begin: Callable[..., Page], folder: Path) -> None:
    page = begin()
    for name in ("talk.mp3", "next.mp3", "anna.wav", "bert.m4a"):
        (folder / name).write_bytes(wav(2000))
    plain, form, known, keep, again, listed, delete, keep_by_http, *_ = commands("speakers")
    code = blocks("speakers", "python")[0]
    kept_job = spoken(page.running, page.running.store)
    at = {"0198f3c2-7a11-7c3e-9f52-0d6a1c2b3e4f": kept_job}
    with consuming(page.running) as talks:
        assert LINES[0] in page(plain) and LINES[0] in page(known)
        page(form)
        assert page.python(code)["job"]["status"] == "completed"
        page(keep, at=at)
        assert LINES[0] in page(again) and "Anna" in page(listed)
    asked = [page.running.store.get(talk.id).params.known_speakers for talk in talks]
    assert [one and [who["name"] for who in one] for one in asked] == [
        *(None, ["Anna", "Bert"], None, ["Anna", "Bert"], ["Anna"])
    ]
    page(delete)
    assert json.loads(page(keep_by_http, at=at))["name"] == "Anna"
