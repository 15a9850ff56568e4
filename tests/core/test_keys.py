"""Keys: how they look, what is kept of them, and what logs show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.keys import DEFAULT_SCOPES, NO_LIMITS, TOKEN, KeyLimits, digest, key_of, masked, new_token

GIVEN = "psk_0a1b2c3d_" + "aB3" * 10 + "xy"


def test_a_new_key_has_an_id_and_a_secret_of_letters_and_digits() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100 and all(TOKEN.fullmatch(token) for token in tokens)


def test_of_a_key_its_id_and_a_checksum_are_kept() -> None:
    key = key_of(GIVEN, "anna")
    assert (key.id, key.name, key.owner, key.scopes) == ("0a1b2c3d", "anna", "anna", DEFAULT_SCOPES)
    assert key.digest == digest(GIVEN[13:]) and GIVEN[13:] not in repr(key) and key.digest not in repr(key)
    assert key_of(GIVEN, "laptop", owner="anna").owner == "anna"


@pytest.mark.parametrize(
    "token",
    ["", "psk_", GIVEN[:-1], GIVEN + "x", GIVEN.upper(), GIVEN + "\n", f" {GIVEN}", GIVEN[:-1] + "ä", GIVEN[:-1] + "٣"],
)
def test_what_is_no_key(token: str) -> None:
    with pytest.raises(ValueError, match=r"a key is psk_<8 .*>_<32") as refused:
        key_of(token, "anna")
    assert "aB3aB3" not in str(refused.value)


@pytest.mark.parametrize("name", ["", " ", " anna", "a,b", "a:b", "a\nb", "x" * 129])
def test_what_is_no_name(name: str) -> None:
    for given in ({"name": name}, {"name": "anna", "owner": name}):
        with pytest.raises(ValueError, match="is no name"):
            key_of(GIVEN, **given)


def test_what_is_no_scope() -> None:
    with pytest.raises(ValueError, match=r"no such scope: root; there are admin, jobs, models"):
        key_of(GIVEN, "anna", scopes=["jobs", "root"])


def test_when_a_key_is_good() -> None:
    now = datetime.now(UTC)
    assert key_of(GIVEN, "anna").good_at(now)
    soon = key_of(GIVEN, "anna", expires_at=now + timedelta(seconds=1))
    assert soon.good_at(now) and not soon.good_at(now + timedelta(seconds=1))


def test_limits_of_a_key_come_before_those_of_the_installation() -> None:
    installation = KeyLimits(requests_per_minute=60, jobs_waiting=5, audio_seconds_per_day=0.0, upload_mb=100.0)
    own = KeyLimits(requests_per_minute=0, upload_mb=200.0)
    assert own.over(installation) == KeyLimits(
        requests_per_minute=0, jobs_waiting=5, audio_seconds_per_day=0.0, upload_mb=200.0
    )
    assert KeyLimits().over(NO_LIMITS) == NO_LIMITS
    assert KeyLimits.from_dict(own.to_dict() | {"of_a_newer_version": 1}) == own


def test_logs_show_no_secret() -> None:
    assert masked(f"GET /{GIVEN} -> 404") == "GET /psk_0a1b2c3d_... -> 404"
    assert masked("nothing of the kind, but psk_") == "nothing of the kind, but psk_"
