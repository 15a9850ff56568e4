"""The server: the table of its tools, and how it is reached."""

from __future__ import annotations

import inspect
import json
import logging
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import anyio
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from parascribe.client.client import Client
from parascribe.mcp import questions
from parascribe.mcp.answers import Answer, JobAnswer, JobsAnswer, ResultAnswer, SearchAnswer
from parascribe.mcp.folders import Folders
from parascribe.mcp.questions import Question
from parascribe.mcp.refusals import explained
from parascribe.mcp.schemas import schema_of
from parascribe.mcp.tools import Report, Tools

log = logging.getLogger(__name__)

READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
MAKES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)
ENDS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One tool."""

    title: str
    takes: type[Question]
    gives: type[Answer]
    hints: ToolAnnotations
    run: Callable[[Any, Report], Awaitable[Answer]]

    def described(self, name: str) -> Tool:
        return Tool(
            name=name,
            title=self.title,
            description=inspect.getdoc(self.run),
            input_schema=schema_of(self.takes),
            output_schema=schema_of(self.gives),
            annotations=self.hints,
        )


def make_server(client: Client, folders: Folders) -> Server[Any]:
    """A server of that service's tools."""
    tools = Tools(client, folders)
    entries = {
        "transcribe": _Entry(
            title="Transcribe a recording",
            takes=questions.transcribe_question(),
            gives=JobAnswer,
            hints=MAKES,
            run=tools.transcribe,
        ),
        "status": _Entry(
            title="State of a job", takes=questions.StatusQuestion, gives=JobAnswer, hints=READS, run=tools.status
        ),
        "result": _Entry(
            title="Read a transcript", takes=questions.ResultQuestion, gives=ResultAnswer, hints=READS, run=tools.result
        ),
        "search": _Entry(
            title="Search transcripts",
            takes=questions.SearchQuestion,
            gives=SearchAnswer,
            hints=READS,
            run=tools.search,
        ),
        "list_jobs": _Entry(
            title="List jobs", takes=questions.ListQuestion, gives=JobsAnswer, hints=READS, run=tools.list_jobs
        ),
        "cancel": _Entry(
            title="Cancel a job", takes=questions.CancelQuestion, gives=JobAnswer, hints=ENDS, run=tools.cancel
        ),
    }

    async def list_tools(_: ServerRequestContext[Any], asked: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[entry.described(name) for name, entry in entries.items()])

    async def call_tool(context: ServerRequestContext[Any], asked: CallToolRequestParams) -> CallToolResult:
        entry = entries.get(asked.name)
        if entry is None:
            raise MCPError(INVALID_PARAMS, f"There is no tool {asked.name!r}; there are {', '.join(entries)}.")
        try:
            question = entry.takes.model_validate(asked.arguments or {})
            answer = await entry.run(question, context.session.report_progress)
        except Exception as error:
            words = explained(error)
            if words is None:
                log.exception("The tool %s failed", asked.name)
                words = "Something went wrong inside parascribe mcp; its log says more (internal)."
            return CallToolResult(content=[TextContent(text=words)], is_error=True)
        body = answer.model_dump(mode="json", exclude_none=True)
        text = json.dumps(body, ensure_ascii=False)
        return CallToolResult(content=[TextContent(text=text)], structured_content=body)

    allowed = ", ".join(map(str, folders.roots))
    return Server(
        "parascribe",
        version=version("parascribe"),
        title="Parascribe",
        instructions="Speech to text. `transcribe` a recording, read its text with `result`; `search` finds where something was "
        f"said in all that was transcribed before. Local files may be in these folders: {allowed}.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def run(url: str | None, folders: Folders, http: tuple[str, int] | None) -> None:
    """Serve until stdin ends, or at that host and port until a signal. Raises ServiceUnreachable for what is no address.

    http: 127.0.0.1, localhost or ::1, of which the library checks `Host` and `Origin`, so that no web page gets in
    """
    with Client(url) as client:
        server = make_server(client, folders)
        if http is None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the library would wait for a line on stdin first
            anyio.run(_over_stdio, server)
            return
        import uvicorn

        host, port = http
        uvicorn.run(server.streamable_http_app(host=host), host=host, port=port, log_level="warning")


async def _over_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
