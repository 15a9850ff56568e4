"""A service that speaks the contract over a real socket but only pretends to transcribe.

What a job does is chosen by the uploaded bytes: `fail`, `partial`, `slow` (runs until cancelled),
`junk` (refused as no media), `full` (refused once with queue_full), `gone` (its result is); anything else completes. Every GET of a
running job moves it one step on, so that a client which polls sees it pass through its stages.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from tests.api.serving import Quick

STAGES = (("queued", "queued", 0.0), ("processing", "decoding", 0.0), ("processing", "transcribing", 60.0))
TEXTS = {
    "txt": ("text/plain", "Good morning.\nThe café opens.\n"),
    "srt": ("application/x-subrip", "1\n00:00:00,000 --> 00:00:03,200\nGood morning.\n"),
    "vtt": ("text/vtt", "WEBVTT\n\n00:00.000 --> 00:03.200\nGood morning.\n"),
    "csv": ("text/csv", "start,end,text\n0.0,3.2,Good morning.\n"),
}
SEGMENTS = [
    {"id": 0, "start": 0.0, "end": 3.2, "text": "Good morning.", "flags": []},
    {"id": 1, "start": 3.2, "end": 3725.5, "text": "The café opens.", "flags": []},
]


@dataclass
class FakeService:
    """Runs in a thread of its own. `requests` lists every (method, path, status) that was answered."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    kinds: dict[str, bytes] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    drop_answers: int = 0  #: break the connection in the middle of so many of the next answers
    looks: list[dict[str, str]] = field(default_factory=list)  #: what each request for a result asked besides
    full: int = 0
    busy: int = 0  #: refuse so many requests for a result with a 503
    retry_after: str | None = None

    def start(self, port: int = 0, *, delay: float = 0.0) -> str:
        """Listen (on a free port, after `delay` seconds without waiting for it); returns the address."""
        self._server = Quick(uvicorn.Config(self, port=port, lifespan="off", log_level="critical"))
        self._thread = threading.Thread(target=self._run, args=(self._server, delay), daemon=True)
        self._thread.start()
        if delay:
            return f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    @staticmethod
    def _run(server: uvicorn.Server, delay: float) -> None:
        time.sleep(delay)
        server.run()

    def stop(self) -> None:
        self._server.end()
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message.get("body", b"")
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
        status, extra, answer = self._route(scope["method"], scope["path"], headers, query, body)
        self.requests.append((scope["method"], scope["path"], status))
        data = answer if isinstance(answer, str) else json.dumps(answer) if answer is not None else ""
        kind = "application/problem+json" if status >= 400 else "application/json"
        drop = self.drop_answers > 0 and scope["method"] in ("POST", "DELETE")
        if drop and not data:
            status, data = 200, "{}"  # without a body there would be nothing to break off
        sent = {"content-type": kind, "content-length": str(len(data.encode()))} | extra
        raw = [(key.encode(), value.encode()) for key, value in sent.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        if drop:
            self.drop_answers -= 1
            return  # uvicorn closes a connection whose answer was not completed
        await send({"type": "http.response.body", "body": data.encode()})

    def _route(self, method: str, path: str, headers: dict[str, str], query: dict[str, str], body: bytes) -> Any:
        if path == "/api/v1/jobs":
            return self._submit(headers, body) if method == "POST" else self._list(query)
        if path == "/api/v1/models":
            return 200, {}, {"items": [{"name": "base", "default": True}]}
        if path.startswith("/html"):
            return 200, {"content-type": "text/html"}, "<h1>something else</h1>"
        if path == "/api/v1/events":
            return _problem(404, "not_found", "There is nothing at this address.")
        found = re.fullmatch(r"/api/v1/jobs/([^/]+)(?:/(\w+))?", path)
        job = self.jobs.get(found[1]) if found else None
        if not found or job is None:
            return _problem(404, "job_not_found", "There is no job with that id.")
        match method, found[2]:
            case "GET", None:
                return self._get(job, headers)
            case "GET", "events":  # as versions before 0.3
                return _problem(404, "not_found", "There is nothing at this address.")
            case "GET", "result":
                fmt = query.pop("format", "json")
                self.looks.append(query)
                return self._result(job, fmt)
            case "POST", "cancel":
                if job["status"] in ("completed", "failed", "cancelled"):
                    return _problem(409, "already_terminal", "The job has already ended.")
                job.update(status="cancelled", version=job["version"] + 1)
                return 202, {}, job
            case "POST", "retry":
                return 202, {}, self._new(b"ok", job["source"]["filename"], {}) | {"retry_of": job["id"]}
            case _:
                del self.jobs[job["id"]]
                return 204, {}, None

    def _submit(self, headers: dict[str, str], body: bytes) -> Any:
        boundary = headers["content-type"].partition("boundary=")[2].encode()
        form: dict[str, str] = {}
        for part in body.split(b"--" + boundary)[1:-1]:
            head, _, data = part[2:-2].partition(b"\r\n\r\n")
            name = re.findall(rb'name="(\w+)"', head)[0].decode()
            if name == "file":
                filename, content = re.findall(rb'filename="([^"]*)"', head)[0].decode(), data
            else:
                form[name] = data.decode()
        if content == b"junk":
            return _problem(415, "not_media", "The uploaded file does not begin like any audio or video format.")
        if content == b"full" and not self.full:
            self.full = 1
            return _problem(429, "queue_full", "As many jobs wait as this service allows.")
        if form.get("beam_size") == "9":
            errors = [{"field": "beam_size", "message": "must be at most 8"}]
            return _problem(422, "validation", "A parameter cannot be used.", errors=errors)
        key = headers["idempotency-key"]
        if key not in self.keys:
            self.keys[key] = self._new(content, filename, form)["id"]
        return 202, {"retry-after": "1"}, self.jobs[self.keys[key]]

    def _new(self, content: bytes, filename: str, form: dict[str, str]) -> dict[str, Any]:
        job_id = f"job-{len(self.jobs) + 1}"
        self.kinds[job_id] = content
        self.jobs[job_id] = job = {
            "id": job_id,
            "status": "queued",
            "version": 0,
            "created_at": "2026-11-21T09:30:00Z",
            "started_at": None,
            "finished_at": None,
            "source": {"filename": filename, "bytes": len(content), "media_type": "audio/x"},
            "retry_of": None,
            "batch": None,
            "params": {"model": "base", "task": "transcribe", "language": None} | form,
            "audio": {"duration": 3725.5, "sha256": "", "speech_seconds": None},
            "language": None,
            "attempts": 1,
            "progress": {
                "percent": 0.0,
                "stage": "queued",
                "stage_percent": None,
                "chunks_done": 0,
                "chunks_total": None,
                "audio_seconds_done": 0.0,
                "eta_seconds": None,
            },
            "partial": False,
            "revision": 0,
            "gaps": [],
            "warnings": [],
            "error": None,
            "performance": None,
            "links": {},
        }
        return job

    def _get(self, job: dict[str, Any], headers: dict[str, str]) -> Any:
        etag = f'"{job["version"]}"'
        if headers.get("if-none-match") == etag:
            self._advance(job)
            return 304, {"etag": etag}, None
        extra = {"etag": etag} | ({"retry-after": self.retry_after} if self.retry_after else {})
        return 200, extra, job

    def _advance(self, job: dict[str, Any]) -> None:
        kind, step = self.kinds[job["id"]], job["version"] + 1
        if job["status"] in ("completed", "failed", "cancelled") or (kind == b"slow" and step >= len(STAGES)):
            return
        job["version"] = step
        if step < len(STAGES):
            status, stage, percent = STAGES[step]
            job["status"] = status
            job["progress"] |= {"stage": stage, "percent": percent, "eta_seconds": 12.0}
        elif kind == b"fail":
            message = "The file's audio cannot be decoded."
            error = {"code": "audio_undecodable", "message": message, "stage": "decoding", "retryable": False}
            job.update(status="failed", error=error)
        else:
            job["status"] = "completed"
            job["progress"] |= {"stage": "done", "percent": 100.0, "eta_seconds": None}
            job["performance"] = {"wall": 4.2, "real_time_factor": 0.001, "speed_up": 1.9, "workers": 2}
            if kind == b"partial":
                job.update(partial=True, gaps=[{"start": 61.0, "end": 65.5, "reason": "no_text"}])

    def _result(self, job: dict[str, Any], fmt: str) -> Any:
        if job["status"] != "completed":
            return _problem(409, "not_ready", "The job has no result yet.")
        if self.busy:
            self.busy -= 1
            return _problem(503, "database_unavailable", "The database cannot be reached.")
        if self.kinds[job["id"]] == b"gone":
            return _problem(410, "expired", "The transcript has been removed.")
        if fmt in TEXTS:
            media, text = TEXTS[fmt]
            return 200, {"content-type": f"{media}; charset=utf-8"}, text
        language = {"code": "en", "confidence": 0.98}
        text = " ".join(str(s["text"]) for s in SEGMENTS)
        return (
            200,
            {},
            {
                "text": text,
                "language": language,
                "duration": 3725.5,
                "model": "base",
                "segments": SEGMENTS,
                "gaps": job["gaps"],
                "warnings": [],
                "performance": job["performance"],
                "provenance": {},
            },
        )

    def _list(self, query: dict[str, str]) -> Any:
        jobs = [job for job in reversed(self.jobs.values()) if query.get("status") in (None, job["status"])]
        start, limit = int(query.get("after", 0)), int(query.get("limit", 50))
        more = str(start + limit) if start + limit < len(jobs) else None
        return 200, {}, {"items": jobs[start : start + limit], "next": more}


def _problem(status: int, code: str, detail: str, **more: Any) -> Any:
    extra = {"retry-after": "1"} if status == 429 else {}
    return (
        status,
        extra,
        {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code} | more,
    )
