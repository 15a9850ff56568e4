"""`parascribe keys`, and what a service without any key may listen on."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.config.loading import load
from core.errors import ServiceError
from core.keys import TOKEN, KeyLimits, digest
from parascribe.cli import main
from parascribe.client.errors import ServiceUnreachable
from parascribe.run import services
from parascribe.run.wiring.stores import open_store

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))


def run(*words: str) -> int:
    return main(["keys", *words])


def listed(capsys: Capture) -> list[dict]:
    capsys.readouterr()
    assert run("list", "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_a_key_is_printed_once_and_kept_as_a_checksum(capsys: Capture, tmp_path: Path) -> None:
    assert run("create", "anna") == 0
    out, err = capsys.readouterr()
    found = TOKEN.fullmatch(out.removesuffix("\n"))
    assert found and "not shown again" in err and "the first one" in err
    assert run("create", "laptop", "--owner", "anna") == 0
    assert "the first one" not in capsys.readouterr().err
    assert run("list") == 0
    shown = capsys.readouterr().out
    assert found[1] in shown and found[2] not in shown and "admin" not in shown and "good" in shown
    first, second = listed(capsys)
    assert (first["id"], first["name"], first["owner"], first["scopes"]) == (
        found[1],
        "anna",
        "anna",
        ["jobs", "models"],
    )
    assert (second["name"], second["owner"]) == ("laptop", "anna")
    with closing(open_store(load())) as store:
        assert store.keys()[0].digest == digest(found[2])
    database = b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir() if file.is_file())
    assert found[1].encode() in database and found[2].encode() not in database


def test_what_a_key_is_for_and_how_much(capsys: Capture) -> None:
    words = ["--scope", "jobs,admin", "--expires", "90d", "--limit", "requests_per_minute=60,upload_mb=1GB"]
    assert run("create", "anna", *words, "--limit", "audio_seconds_per_day=2h", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert TOKEN.fullmatch(made.pop("key")) and made["scopes"] == ["admin", "jobs"]
    assert made["limits"] == {"requests_per_minute": 60, "upload_mb": 1024.0, "audio_seconds_per_day": 7200.0}
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left < timedelta(days=90)
    assert listed(capsys) == [made]
    with closing(open_store(load())) as store:
        limits = store.keys()[0].limits
    assert limits == KeyLimits(requests_per_minute=60, audio_seconds_per_day=7200.0, upload_mb=1024.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a:b"], "is no name"),
        (["anna", "--scope", "root"], "no such scope: root"),
        (["anna", "--expires", "soon"], "expected a number"),
        (["anna", "--expires", "0"], "good for no time"),
        (["anna", "--expires", "99999999d"], "longer than there are dates"),
        (["anna", "--limit", "speed=3"], "is no limit"),
        (["anna", "--limit", "jobs_waiting"], "is no limit"),
        (["anna", "--limit", "jobs_waiting=1.5"], "a whole number"),
        (["anna", "--limit", "jobs_waiting=-1"], "a whole number"),
        (["anna", "--variable", "--scope", "admin"], "without --variable"),
    ],
)
def test_what_makes_no_key(capsys: Capture, words: list[str], said: str) -> None:
    assert run("create", *words) == 2
    err = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert said in err and listed(capsys) == []


def test_a_key_for_the_variable_is_in_no_table(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("create", "anna", "--variable") == 0
    monkeypatch.setenv("API_KEYS", capsys.readouterr().out.strip())
    (key,) = load().known_keys
    assert key.owner == "anna"
    assert [(one["id"], one["created_at"]) for one in listed(capsys)] == [(key.id, None)]
    with closing(open_store(load())) as store:
        assert not store.has_keys()


def test_revoking(capsys: Capture) -> None:
    for name in ("anna", "bert"):
        assert run("create", name) == 0
    anna = listed(capsys)[0]["id"]
    assert run("revoke", anna, "nobody") == 1
    out, err = capsys.readouterr()
    assert f"{anna} of anna is revoked" in out and "nobody" in err and "key_not_found" in err
    assert [key["revoked_at"] is not None for key in listed(capsys)] == [True, False]
    assert run("list") == 0
    assert "revoked" in capsys.readouterr().out


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "speech.example"])
def test_without_a_key_it_listens_for_this_machine_only(host: str, capsys: Capture) -> None:
    services._check(load(), with_api=True)
    with pytest.raises(ServiceError, match=r"has no keys.*parascribe keys create"):
        services._check(load(api_host=host), with_api=True)
    services._check(load(api_host=host, allow_open=True), with_api=True)
    services._check(load(api_host=host, api_keys=f"anna:psk_{'a' * 8}_{'a' * 32}"), with_api=True)
    assert run("create", "anna") == 0
    services._check(load(api_host=host), with_api=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine(host: str) -> None:
    assert load(api_host=host).loopback


def test_the_client_sends_its_key(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    def sent(client: Any) -> str | None:
        with client:
            return client._transport.http.headers.get("Authorization")

    assert sent(kind()) is None and sent(kind(api_key="psk_1")) == "Bearer psk_1"
    monkeypatch.setenv("PARASCRIBE_API_KEY", " psk_2\n")
    assert sent(kind()) == "Bearer psk_2" and sent(kind(api_key="psk_1")) == "Bearer psk_1"
    monkeypatch.setenv("PARASCRIBE_API_KEY", "kein Schlüssel")
    with pytest.raises(ServiceUnreachable, match="PARASCRIBE_API_KEY"):
        kind()
