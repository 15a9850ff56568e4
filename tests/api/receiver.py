"""A receiver of webhooks, as people write one: it verifies each message with `standardwebhooks`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError


@dataclass(kw_only=True)
class Message:
    """As it came. signed: by which secrets"""

    id: str
    path: str
    body: dict[str, Any]
    raw: bytes
    headers: dict[str, str]
    signed: list[str] = field(default_factory=list)


class Receiver(ThreadingHTTPServer):
    """answers: statuses, each for one message in turn; the last one stays. redirect: where a 307 leads"""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secrets: list[str] = []
        self.answers: list[int] = [204]
        self.redirect = "/"
        self.messages: list[Message] = []
        self.changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def take(self, message: Message) -> int:
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def wait(self, count: int, seconds: float = 30.0) -> list[Message]:
        """The messages, as soon as there are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.messages) >= count, seconds), f"{len(self.messages)} came"
            return list(self.messages)

    def handle_error(self, request: object, client_address: object) -> None:
        """A sender that is killed hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        message = Message(id=headers["webhook-id"], path=self.path, body=json.loads(raw), raw=raw, headers=headers)
        for secret in self.server.secrets:
            try:
                assert Webhook(secret).verify(raw, headers) == message.body
                message.signed.append(secret)
            except WebhookVerificationError:
                pass
        status = self.server.take(message)
        self.send_response(status)
        if status in (301, 302, 307, 308):
            self.send_header("Location", self.server.redirect)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
