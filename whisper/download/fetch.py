"""Getting the bytes of one model file from one address."""

from __future__ import annotations

import logging
import queue
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from core.errors import ModelInvalid, ModelUnavailable
from whisper.download.part import PartFile, Patience

if TYPE_CHECKING:  # 15 MB, in processes that hardly ever fetch anything
    import httpx

log = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try of a source that brought no new byte; after the last it is given up."""
CONNECT_SECONDS = 3.0
"""After so long without a byte a source that does not answer is given up: there are others."""
_POLL = 0.1


class _NotNow(Exception):
    """The server is there, but has too much to do."""


def fetch_url(client: httpx.Client, url: str, part: PartFile, *, pauses: Sequence[float] = PAUSES) -> None:
    """Bring `part` up to the end of what `url` serves, resuming after broken connections.

    pauses: see PAUSES. A source that has brought nothing yet, and does not say that it is busy either, gets no try that
        would begin later than CONNECT_SECONDS

    Raises ModelUnavailable (unreachable, an error status, broken off, too slow), ModelInvalid, DiskFull, Cancelled.
    """
    import httpx

    fruitless, anew, answers = 0, False, False
    silent_until = time.monotonic() + CONNECT_SECONDS
    while True:
        before = part.size
        try:
            _connect(url, part.patience, CONNECT_SECONDS if answers else silent_until - time.monotonic())
            if _fetch_once(client, url, part):
                return
            reason, answers = f"it ended after {part.size} bytes", True
        except httpx.TimeoutException:
            reason = "nothing came in time"
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ModelUnavailable(str(error)) from error
        except _NotNow as error:
            reason, answers = str(error), True
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
        except OSError as error:  # of _connect: the part's own are told apart already
            reason = f"no connection: {error.strerror or error}"
        answers = answers or part.size > before
        if part.size < before and not anew:  # what lay here did not fit: the source has not had its try yet
            anew = True
            continue
        fruitless = 0 if part.size > before else fruitless + 1
        if fruitless > len(pauses):
            raise ModelUnavailable(reason)
        pause = pauses[fruitless - 1] if fruitless else 0.0
        if not answers and time.monotonic() + pause >= silent_until:
            raise ModelUnavailable(reason)
        log.info(
            "Download of %s stopped at %d bytes (%s), trying again in %.0f s", part.path.name, part.size, reason, pause
        )
        part.patience.pause(pause)


def _connect(url: str, patience: Patience, seconds: float) -> None:
    """Find out whether the server of an address, or the proxy before it, can be connected at all.

    In a thread of its own: neither the resolver nor the way through all addresses of a name has a time limit otherwise.

    Raises OSError when there is no connection within `seconds`; Cancelled, ModelUnavailable (deadline).
    """
    if (server := _server(url)) is None:
        return
    outcome: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()

    def probe() -> None:
        try:
            socket.create_connection(server, timeout=seconds).close()
            outcome.put(None)
        except OSError as error:
            outcome.put(error)

    end = time.monotonic() + seconds
    threading.Thread(target=probe, name="connect", daemon=True).start()
    while (left := end - time.monotonic()) > 0:
        patience.check()
        try:
            error = outcome.get(timeout=min(left, _POLL))
        except queue.Empty:
            continue
        if error is not None:
            raise error
        return
    raise TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} s")


def _server(url: str) -> tuple[str, int] | None:
    """Host and port that a request for `url` connects to; None when that is for httpx to say."""
    try:
        parts = urlsplit(url)
        proxies = urllib.request.getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if proxy and not urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = parts.port or {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _fetch_once(client: httpx.Client, url: str, part: PartFile) -> bool:
    """One request; True when the file is complete. Raises _NotNow too."""
    if part.total is not None and part.size == part.total:
        return True
    headers = {"Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:  # what lies here is not the beginning of what is served
            part.restart()
            return False
        if response.status_code not in (200, 206):
            answer = f"the server answered {response.status_code} {response.reason_phrase}"
            raise (
                _NotNow(answer)
                if response.status_code == 429 or response.status_code >= 500
                else ModelUnavailable(answer)
            )
        if "text/html" in response.headers.get("content-type", ""):
            raise ModelInvalid("the answer is a web page, not a model")
        if response.status_code == 206:
            served = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("content-range", ""))
            if served is None or int(served[1]) != part.size:
                part.restart()
                return False
            total = None if served[2] == "*" else int(served[2])
        else:
            part.restart()
            length = response.headers.get("content-length", "")
            total = int(length) if length.isdigit() else None
        if total is not None and part.total is not None and total != part.total:
            raise ModelInvalid(f"the file there has {total} bytes instead of {part.total}")
        part.total = total if part.total is None else part.total
        for block in response.iter_raw():
            part.write(block)
    return part.total is None or part.size == part.total


def shown(url: str) -> str:
    """The address without user, password and query, fit for logs and messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
