"""A service that needs keys, for the tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from api.access.key_table import KeyTable
from api.access.keys import KeyAuthenticator
from api.upload.receiver import UploadLimits
from core.keys import Key, KeyLimits, key_of, new_token
from core.store.sql import SqlStore
from tests.api.serving import Service, service


class Clock:
    """Seconds, as the tests say."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class CountingStore(SqlStore):
    """Counts how often somebody asks what keys there are, and says when one has been noted as used."""

    looks = 0
    noted: threading.Semaphore

    def key_state(self, known: str | None) -> Any:
        self.looks += 1
        return super().key_state(known)

    def used(self, key_ids: Any) -> None:
        super().used(key_ids)
        self.noted.release()


def counting() -> CountingStore:
    store = CountingStore(SqlStore.in_memory().database)
    store.noted = threading.Semaphore(0)
    return store


def add(store: SqlStore, name: str = "anna", **more: Any) -> tuple[str, Key]:
    """A new key of the table."""
    token = new_token()
    return token, store.add_key(key_of(token, name, **more))


@contextmanager
def keyed(
    folder: Path,
    store: SqlStore,
    *,
    given: tuple[Key, ...] = (),
    limits: KeyLimits | None = None,
    clock: Clock | None = None,
    open_without_keys: bool = True,
    uploads: UploadLimits | None = None,
    **parts: Any,
) -> Iterator[Service]:
    table = KeyTable(store, given=given, clock=clock or Clock())
    authenticator = KeyAuthenticator(table, limits=limits or KeyLimits(), open_without_keys=open_without_keys)
    parts |= {"limits": uploads} if uploads else {}
    with service(folder, store=store, authenticator=authenticator, **parts) as running:
        yield running
    table.close()
