"""Servers that speak LibreTranslate's and chat completions' JSON, well or as the test wants it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from whisper.translation.scripted import scripted

Answer = tuple[int, dict[str, str], bytes]


def good(body: Any, status: int = 200, **headers: str) -> Answer:
    return status, headers, json.dumps(body, ensure_ascii=False).encode()


class Server:
    """asked: (path, headers, body) of each request. act: given a path and a body, its answer; None: the good one"""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.act: Callable[[str, Any], Answer | None] = lambda path, body: None
        self.url = ""

    def answer(self, path: str, body: Any) -> Answer:
        if path == "/languages":
            targets = ["en", "de", "zh-Hans"]
            return good([{"code": code, "name": code, "targets": targets} for code in targets])
        if path == "/translate":
            texts = body["q"]
            said = [scripted(text, body["target"]) for text in ([texts] if isinstance(texts, str) else texts)]
            return good({"translatedText": said[0] if isinstance(texts, str) else said})
        if path == "/chat/completions":
            task, asked = (message["content"] for message in body["messages"])
            target = {"English": "en", "German": "de"}[task.partition(" to ")[2].partition(".")[0]]
            segments = json.loads(asked)["segments"]
            return chat([{"id": one["id"], "text": scripted(one["text"], target)} for one in segments])
        return good({"error": "there is nothing here"}, 404)


def chat(translations: Any) -> Answer:
    content = translations if isinstance(translations, str) else json.dumps({"translations": translations})
    return good({"choices": [{"message": {"role": "assistant", "content": content}}]})


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, body: Any) -> None:
            server.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers, data = server.act(self.path, body) or server.answer(self.path, body)
            try:
                self.send_response(status)
                for name, value in {"content-length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # who asked has gone

        def log_message(self, *_: Any) -> None:
            """Nothing is to be read there."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
