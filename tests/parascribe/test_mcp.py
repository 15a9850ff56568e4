"""`parascribe mcp` and the official client: over stdio as assistants start it, and in process for what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client as McpClient
from mcp.client.stdio import StdioServerParameters

from core.jobs.job import JobStatus
from core.queue.indexing import index_due
from parascribe import Client
from parascribe.mcp.folders import Folders
from parascribe.mcp.questions import TranscribeQuestion
from parascribe.mcp.server import make_server
from parascribe.mcp.tools import Tools
from scripts.servers import free_port
from tests.api.consuming import LINES, consuming
from tests.api.serving import Service, service, wav

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "assistants.md"
NOBODY = "0198f3c2-0000-7000-8000-000000000000"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path / "service") as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An allowed folder beside a file that is not in it."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    (folder / "talk.wav").write_bytes(wav())
    (tmp_path / "secret.wav").write_bytes(wav())
    return folder


def address(running: Service) -> str:
    return f"http://127.0.0.1:{running.port}"


def talking(server: Any, talk: Callable[[McpClient], Awaitable[None]]) -> None:
    """Open a session, talk, and close it."""

    async def whole() -> None:
        async with McpClient(server) as client:
            await talk(client)

    asyncio.run(whole())


def program(running: Service, folder: Path) -> StdioServerParameters:
    """As the how-to has it."""
    (example,) = re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    config = json.loads(example)["mcpServers"]["parascribe"]
    assert config["command"] == "parascribe" and {*config["env"]} == {"PARASCRIBE_URL", "PARASCRIBE_API_KEY"}
    arguments = [str(folder) if one.startswith("/") else one for one in config["args"]]
    env = {"PARASCRIBE_URL": address(running)}
    return StdioServerParameters(command=sys.executable, args=["-m", "parascribe", *arguments], env=env)


async def asked(client: McpClient, tool: str, **arguments: Any) -> dict[str, Any]:
    """The answer, which is the same as text and as data."""
    found = await client.call_tool(tool, arguments)
    text = found.content[0].text  # type: ignore[union-attr]
    assert not found.is_error, text
    assert json.loads(text) == found.structured_content
    return found.structured_content  # type: ignore[no-any-return]


async def refused(client: McpClient, tool: str, code: str, **arguments: Any) -> str:
    found = await client.call_tool(tool, arguments)
    text: str = found.content[0].text  # type: ignore[union-attr]
    assert found.is_error and f"({code})." in text, text
    assert "Traceback" not in text and 'File "' not in text
    return text


def test_over_stdio(running: Service, folder: Path) -> None:
    """As assistants start it, and one session for all."""

    async def talk(client: McpClient) -> None:
        await describes_its_tools(client)
        await leaves_the_job_of_a_cancelled_call(client, running, folder)
        with consuming(running):
            await transcribes_and_reads(client, running)

    talking(program(running, folder), talk)


async def describes_its_tools(client: McpClient) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert {*tools} == {"transcribe", "status", "result", "search", "list_jobs", "cancel"}
    hints = {name: tool.annotations for name, tool in tools.items()}
    assert {name for name, hint in hints.items() if hint and hint.read_only_hint} == {*tools} - {"transcribe", "cancel"}
    assert {name for name, hint in hints.items() if hint and hint.destructive_hint} == {"cancel"}
    for tool in tools.values():
        assert tool.description and tool.title and tool.output_schema
        assert all("description" in about for about in tool.input_schema["properties"].values())
        assert tool.input_schema["additionalProperties"] is False


async def leaves_the_job_of_a_cancelled_call(client: McpClient, running: Service, folder: Path) -> None:
    """Unless the call says otherwise."""
    for ends in (False, True):
        arguments = {"path": str(folder / "talk.wav"), "wait_seconds": 600, "cancel_with_call": ends}
        call = asyncio.create_task(client.call_tool("transcribe", arguments))
        async with asyncio.timeout(30):
            jobs: list[Any] = []
            while not jobs:
                jobs = (await asked(client, "list_jobs", status="queued"))["jobs"]
        (job,) = jobs
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        left = await asked(client, "status", job_id=job["id"], wait_seconds=30 if ends else 0.3)
        assert left["status"] == ("cancelled" if ends else "queued")
        if not ends:
            assert (await asked(client, "cancel", job_id=job["id"]))["status"] == "cancelled"


async def transcribes_and_reads(client: McpClient, running: Service) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def progress(*how_far: Any) -> None:
        told.append(how_far)

    arguments = {"path": "talk.wav", "language": "en", "wait_seconds": 30}
    found = await client.call_tool("transcribe", arguments, progress_callback=progress)
    job = found.structured_content
    assert not found.is_error and (job["status"], job["file"], job["language"]) == ("completed", "talk.wav", "en")
    assert running.store.get(job["id"]).params.language == "en"
    assert told and all(total == 100 for _, total, _ in told)
    assert [at for at, *_ in told] == sorted({at for at, *_ in told})

    whole = await asked(client, "result", job_id=job["id"])
    assert [segment["text"] for segment in whole["segments"]] == LINES and "next" not in whole
    some = await asked(client, "result", job_id=job["id"], start=10, end=20)
    assert [segment["id"] for segment in some["segments"]] == [2, 3]
    pages, after = [], 0
    while after is not None:
        page = await asked(client, "result", job_id=job["id"], after=after, max_characters=120)
        pages.append([segment["text"] for segment in page["segments"]])
        after = page.get("next")
    assert len(pages) == 3 and sum(pages, []) == LINES
    text, after = "", 0
    while after is not None:
        page = await asked(client, "result", job_id=job["id"], format="srt", after=after, max_characters=100)
        text, after = text + page["text"], page.get("next")
    with Client(address(running)) as ours:
        assert text == ours.result(job["id"], "srt")
        edit = ours.transcript(job["id"])
        edit["segments"][0]["text"] = "Grüße"
        ours.edit(edit)
    for revision, number, first in (("latest", 1, "Grüße"), ("original", 0, LINES[0]), (1, 1, "Grüße")):
        one = await asked(client, "result", job_id=job["id"], revision=revision, end=1)
        assert (one["revision"], [segment["text"] for segment in one["segments"]]) == (number, [first])
    await refused(client, "result", "revision_not_found", job_id=job["id"], revision=2)

    ids = [one["id"] for one in (await asked(client, "list_jobs", query="talk", status="completed"))["jobs"]]
    assert ids == [job["id"]]
    assert index_due(running.store, running.objects, seconds=20.0)
    (hit,) = (await asked(client, "search", query="grüße"))["found"]
    assert (hit["job_id"], [one["id"] for one in hit["segments"]]) == (job["id"], [0])
    await refused(client, "cancel", "already_terminal", job_id=job["id"])


def test_a_call_that_is_cancelled_while_its_file_is_sent_makes_no_job(folder: Path) -> None:
    size, came = 32 << 20, 0
    with (folder / "long.wav").open("wb") as file:
        file.truncate(size)

    async def whole() -> None:
        begun, gone = asyncio.Event(), asyncio.Event()

        async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal came
            while data := await reader.read(1 << 16):
                came += len(data)
                begun.set()
                await asyncio.sleep(0.01)
            writer.close()
            gone.set()

        async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
            place = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with Client(place) as client:
                tools = Tools(client, Folders([folder]))
                async with anyio.create_task_group() as calls:
                    calls.start_soon(tools.transcribe, TranscribeQuestion(path="long.wav"), report)
                    await begun.wait()
                    calls.cancel_scope.cancel()
                await gone.wait()

    async def report(progress: float, total: float, words: str) -> None:
        raise AssertionError("there is no job")

    asyncio.run(whole())
    assert 0 < came < size


def test_what_is_wrong_is_said_with_its_code_and_what_to_do(running: Service, folder: Path) -> None:
    (folder / "notes.txt").write_text("no recording")
    (folder / "link.wav").symlink_to(folder.parent / "secret.wav")
    (folder / "inner").mkdir()
    (folder / "inner" / "way").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe")

    async def talk(client: McpClient) -> None:
        for outside in (
            "/etc/passwd",
            str(folder.parent / "secret.wav"),
            "link.wav",
            "inner/way/secret.wav",
            "/etc/none",
        ):
            assert str(folder) in await refused(client, "transcribe", "path_outside", path=outside)
        for useless in ("none.wav", "inner", ".", "pipe", "a\0b", "talk.wav/more"):
            await refused(client, "transcribe", "unreadable", path=useless)
        await refused(client, "transcribe", "not_media", path="notes.txt")
        await refused(client, "transcribe", "unsupported", url="https://example.com/talk.mp3")
        for wrong in ({}, {"path": "talk.wav", "url": "https://example.com/a"}, {"path": "talk.wav", "speed": 2}):
            await refused(client, "transcribe", "validation", **wrong)
        assert "language" in await refused(client, "transcribe", "validation", path="talk.wav", language="klingon")
        await refused(client, "transcribe", "unknown_model", path="talk.wav", model="none")
        for tool in ("status", "result", "cancel"):
            await refused(client, tool, "job_not_found", job_id=NOBODY)
            await refused(client, tool, "validation", job_id="../../system")
        job = running.submit().json()
        assert "status" in await refused(client, "result", "not_ready", job_id=job["id"])
        await refused(client, "result", "validation", job_id=job["id"], format="srt", start=1)
        await refused(client, "result", "validation", job_id=job["id"], start=2, end=1)
        await refused(client, "search", "validation", query="...")
        assert running.store.get(job["id"]).status is JobStatus.QUEUED and running.store.waiting(at_most=9) == 1

    with Client(address(running)) as client:
        talking(make_server(client, Folders([folder])), talk)


def test_a_service_that_is_down_is_said(folder: Path) -> None:
    async def talk(client: McpClient) -> None:
        assert "parascribe serve" in await refused(client, "list_jobs", "service_unreachable")
        await refused(client, "transcribe", "service_unreachable", path="talk.wav")

    with Client(f"http://127.0.0.1:{free_port()}") as client:
        talking(make_server(client, Folders([folder])), talk)


def test_a_mistake_of_ours_shows_no_trace(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Client):
        def list(self, **_: Any) -> Any:
            raise ZeroDivisionError("secret")

    async def talk(client: McpClient) -> None:
        assert "secret" not in await refused(client, "list_jobs", "internal")

    with Broken("http://127.0.0.1:9") as client:
        talking(make_server(client, Folders([folder])), talk)
    assert "ZeroDivisionError" in caplog.text


def test_over_http_for_this_machine_alone(running: Service, folder: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "parascribe", "mcp", "--http", f"127.0.0.1:{port}", "--root", str(folder)]
    with subprocess.Popen([*command, "--url", address(running)]) as process:
        try:
            deadline = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    strange = httpx.post(
                        f"http://127.0.0.1:{port}/mcp", json={}, headers={"Host": "evil.example"}, trust_env=False
                    )
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            assert strange.status_code == 421

            async def talk(client: McpClient) -> None:
                assert (await asked(client, "list_jobs"))["jobs"] == []

            talking(f"http://127.0.0.1:{port}/mcp", talk)
        finally:
            process.terminate()


def test_what_it_is_started_with(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from parascribe.cli import main

    for wrong in (["--http", "0.0.0.0:80"], ["--http", "127.0.0.1"], ["--root", "/"], ["--root", str(folder / "none")]):
        assert main(["mcp", *wrong]) == 2
        assert wrong[0] in capsys.readouterr().err
    code = "import sys; sys.modules['mcp'] = None; from parascribe.cli import main; sys.exit(main(['mcp']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "pip install 'parascribe[mcp]'" in done.stderr and "Traceback" not in done.stderr
