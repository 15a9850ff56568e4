"""`parascribe keys`: who may use the service over the network. Works on the database itself, whether or not the service runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.keys import DEFAULT_SCOPES, LIMITS, SCOPES, Key, KeyLimits, key_of, new_token
from parascribe.cli.commands.common import Exit, JsonOption, each, note, print_json, settings

if TYPE_CHECKING:
    from core.store.sql import SqlStore

app = typer.Typer(
    no_args_is_help=True,
    help="Keys for the service: create, list, revoke. With the first one, everybody needs one. They are in the database that the settings name.",
)

ID = Annotated[list[str], typer.Argument(metavar="ID", help="Ids of keys, as `parascribe keys list` shows them.")]


def _split(given: list[str]) -> list[str]:
    return [part.strip() for one in given for part in one.split(",") if part.strip()]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what the key is for.")],
    owner: Annotated[
        str | None, typer.Option("--owner", help="Whose jobs its jobs are [default: NAME].", show_default=False)
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="|".join(sorted(SCOPES)),
            help=f"What it is for; several with commas [default: {','.join(sorted(DEFAULT_SCOPES))}]. admin sees everybody's jobs.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            metavar="DURATION",
            help="Until when it is good: 90d, 12h [default: for ever].",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=NUMBER",
            help=f"A limit of its own, 0 for none: {', '.join(LIMITS)} [default: LIMIT_*].",
            show_default=False,
        ),
    ] = None,
    variable: Annotated[
        bool, typer.Option("--variable", help="Keep it in no table: print what API_KEYS takes.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make a key and print it. It is shown this once: what is kept of it is a checksum.

    Two keys of one name are one owner's, so a key is replaced by making another and revoking the first.
    """
    token = new_token()
    try:
        key = key_of(
            token,
            name,
            owner=owner,
            scopes=_split(scope) if scope else DEFAULT_SCOPES,
            limits=_limits(_split(limit or [])),
            expires_at=_until(expires),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if variable:
        if owner or scope or expires or limit:
            raise typer.BadParameter("what is in API_KEYS has a name and no more: without --variable")
        print(f"{name}:{token}")
        return
    with _store() as store:
        first = not store.has_keys()
        made = store.add_key(key)
    if json:
        print_json(_body(made) | {"key": token})
    else:
        print(token)
    note(f"The key {made.id} of {made.owner} is kept as a checksum: it is not shown again.")
    if first:
        note("It is the first one: from now on nobody uses this service without a key.")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List all keys there ever were, oldest first, and those of API_KEYS."""
    from parascribe.screen.render import table

    given = settings().known_keys
    with _store() as store:
        found = store.keys()
    if json:
        print_json([_body(key) for key in (*found, *given)])
        return
    now = datetime.now(UTC)
    table(
        ("ID", "NAME", "OWNER", "SCOPES", "STATE", "EXPIRES", "LAST USED", "LIMITS"),
        [
            (
                key.id,
                key.name,
                key.owner,
                ",".join(sorted(key.scopes)),
                _state(key, now),
                _day(key.expires_at),
                _day(key.used_at),
                ", ".join(f"{name}={value:g}" for name, value in key.limits.to_dict().items()) or "-",
            )
            for key in (*found, *given)
        ],
    )


@app.command()
def revoke(ids: ID) -> None:
    """End keys and the sessions that were begun with them, within a second or two. Their jobs stay."""
    with _store() as store:

        def end(key_id: str) -> None:
            key = store.revoke(key_id)
            print(f"{key.id} of {key.owner} is revoked")

        well = each(ids, end)
    if not well:
        raise typer.Exit(Exit.FAILED)


@contextmanager
def _store() -> Iterator[SqlStore]:
    from parascribe.run.wiring.stores import open_store

    store = open_store(settings())
    try:
        yield store
    finally:
        store.close()


def _limits(given: list[str]) -> KeyLimits:
    """Raises ValueError."""
    values: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if name not in LIMITS or not equals:
            raise ValueError(f"{one!r} is no limit: NAME=NUMBER, where NAME is one of {', '.join(LIMITS)}")
        values[name] = _number(name, text)
    return KeyLimits(**values)


def _number(name: str, text: str) -> float:
    from core.config.units import BYTES, SECONDS, quantity

    if name == "upload_mb":
        return quantity(text, BYTES, BYTES["mb"])
    if name == "audio_seconds_per_day":
        return quantity(text, SECONDS, 1.0)
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}: a whole number, not {text!r}")
    return int(text)


def _until(expires: str | None) -> datetime | None:
    """Raises ValueError."""
    from core.config.units import SECONDS, quantity

    if expires is None:
        return None
    seconds = quantity(expires, SECONDS, 1.0)
    if seconds <= 0:
        raise ValueError("a key that is good for no time is none")
    try:
        return datetime.now(UTC) + timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{expires!r} is longer than there are dates") from None


def _state(key: Key, now: datetime) -> str:
    return key.state_at(now) if key.created_at else "good (API_KEYS)"


def _day(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if moment else "-"


def _body(key: Key) -> dict[str, Any]:
    """All but the checksum, which is nobody's business."""
    times = {name: getattr(key, name) for name in ("created_at", "expires_at", "revoked_at", "used_at")}
    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "scopes": sorted(key.scopes),
        "limits": key.limits.to_dict(),
        **{name: moment.isoformat() if moment else None for name, moment in times.items()},
    }
