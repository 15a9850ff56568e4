"""Requests to an S3 store from a machine whose clock is wrong: signed again with the store's own time."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import time as s3_time
from minio.credentials.credentials import Credentials
from minio.signer import sign_v4_s3
from urllib3.response import BaseHTTPResponse

log = logging.getLogger(__name__)

TOLERATED = timedelta(minutes=5)
"""S3 refuses what is signed more than 15 minutes off its own time; a refusal at less than this has another reason."""


class StoreTimePool(urllib3.PoolManager):
    """Connections whose requests are signed with the store's time when the store refuses this machine's.

    A 403 whose `Date` is far from the time the request was signed with is tried once more with the corrected time. The
    difference is remembered when that helps, so later requests cost nothing, and it is found anew in the same way when
    the clock is set right. The answer's error code is not looked at: the answer to a HEAD has none. An answer without
    a `Date` is passed on as it is. Bodies are sent twice, so they must be bytes; the MinIO client sends nothing else.

    options: as for PoolManager. Raises what that raises.
    """

    def __init__(self, credentials: Credentials, **options: Any) -> None:
        super().__init__(**options)
        self._credentials = credentials
        self._offset = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The store's time (UTC), as far as it is known to differ from this machine's."""
        return s3_time.utcnow() + self._offset

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> BaseHTTPResponse:  # type: ignore[override]
        headers, offset = kw.get("headers") or {}, self._offset
        if "x-amz-date" not in headers or "authorization" not in headers:
            return super().urlopen(method, url, redirect, **kw)
        local = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if offset:
            kw["headers"] = self._signed(method, url, headers, local + offset)
        answer = super().urlopen(method, url, redirect, **kw)
        theirs = _date(answer) if answer.status == 403 else None
        if theirs is None or abs(theirs - (local + offset)) <= TOLERATED:
            return answer
        offset = theirs - local if abs(theirs - local) > TOLERATED else timedelta()
        answer.drain_conn()
        answer.release_conn()
        kw["headers"] = self._signed(method, url, headers, local + offset)
        answer = super().urlopen(method, url, redirect, **kw)
        if answer.status != 403:
            self._learn(offset)
        return answer

    def _signed(self, method: str, url: str, headers: Any, date: datetime) -> dict[str, str]:
        """The same headers for another time. The region stands in the signature that the client has made."""
        fresh: dict[str, Any] = {
            name: headers[name] for name in headers if name.lower() not in ("x-amz-date", "authorization")
        }
        fresh["x-amz-date"] = s3_time.to_amz_date(date)
        scope = headers["authorization"].partition("Credential=")[2].partition(",")[0]
        return sign_v4_s3(  # type: ignore[return-value]
            method=method,
            url=urlsplit(url),
            region=scope.split("/")[-3],
            headers=fresh,
            credentials=self._credentials,
            content_sha256=fresh["x-amz-content-sha256"],
            date=date,
        )

    def _learn(self, offset: timedelta) -> None:
        with self._lock:  # requests in other threads may have found the same
            known, self._offset = self._offset, offset
        if abs(offset - known) <= TOLERATED:
            return
        if offset:
            log.warning(
                "This machine's clock and the object store's are %.0f seconds apart; requests are signed with the store's time",
                abs(offset.total_seconds()),
            )
        else:
            log.info("This machine's clock and the object store's agree again")


def _date(answer: BaseHTTPResponse) -> datetime | None:
    """When the answer was made by its server's clock; None when it does not say."""
    try:
        found = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, TypeError, ValueError):
        return None
    return found if found.tzinfo else None
