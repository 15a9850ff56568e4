"""`parascribe live`: speech becomes text while it is spoken."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.jobs.params import JobParams
from core.live.options import OF_JOBS, StreamOptions
from core.options import read
from parascribe.cli.commands.common import Exit, QuietOption, UrlOption, note, settings
from parascribe.cli.commands.job_options import with_options

if TYPE_CHECKING:
    from parascribe.cli.live.outputs import Output
    from parascribe.cli.live.run import LiveRun
    from parascribe.cli.live.sources import Source


def live_command(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE|URL|-",
            help="Files, played at their own speed; what is broadcast at addresses (rtsp, http, https, rtmp; HLS too); - for stdin: samples, or a file as it is made. Each is a stream of its own.",
            show_default=False,
        ),
    ] = None,
    mic: Annotated[bool, typer.Option("--mic", help="The microphone (extra mic).")] = False,
    device: Annotated[
        str | None,
        typer.Option("--device", help="Which microphone: its number or a part of its name.", show_default=False),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Files as fast as the service takes them.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
    srt: Annotated[
        Path | None, typer.Option("--srt", metavar="FILE", help="Subtitles that grow.", show_default=False)
    ] = None,
    vtt: Annotated[
        Path | None, typer.Option("--vtt", metavar="FILE", help="The same as WebVTT.", show_default=False)
    ] = None,
    local: Annotated[
        bool,
        typer.Option("--local", help="In this process, without a service; nothing is kept but what is written here."),
    ] = False,
    url: UrlOption = None,
    quiet: QuietOption = False,
    **given: Any,
) -> None:
    """Text while it is spoken: of a microphone, a file, what is broadcast, or what comes through a pipe.

    On a terminal the line that is being spoken is shown as it is heard, what may still change dim; into a pipe go finished
    utterances, one a line. Ctrl-C ends the streams, and says which jobs they have become; a second one leaves at once.
    """
    from parascribe.cli.live.microphone import microphone_source
    from parascribe.cli.live.run import LiveRun

    names = {name: value for name, value in given.items() if name not in OF_JOBS}
    values, errors = read(StreamOptions, names)
    if errors:
        raise typer.BadParameter("; ".join(f"--{e['field'].replace('_', '-')}: {e['message']}" for e in errors))
    stream = StreamOptions(**values)
    found = [_source(one, fast=fast, raw="encoding" in given, quiet=quiet) for one in sources or ()]
    if not found and not mic:
        raise typer.BadParameter("what is to be heard? a FILE, an address, - or --mic")
    if device is not None and not mic:
        raise typer.BadParameter("--device is for --mic")
    if len(found) + mic > 1 and (srt or vtt):
        raise typer.BadParameter("--srt and --vtt are for one stream")
    if (sources or []).count("-") > 1:
        raise typer.BadParameter("there is one stdin")
    if stream.encoding == "container" and (mic or sources != ["-"]):
        raise typer.BadParameter("--encoding container is for stdin: everything else is decoded here")
    if local and (given.get("save") or stream.refine):
        raise typer.BadParameter("--local keeps nothing: --save and --refine are for a service")
    if mic:
        found.append(microphone_source(device))
    outputs = _outputs(json=json, alone=len(found) == 1, quiet=quiet, srt=srt, vtt=vtt)
    run = LiveRun(sources=found, stream=stream, options=given, outputs=outputs)
    try:
        code = _here(run) if local else _at_service(run, url)
    finally:
        for output in outputs:
            output.close()
    raise typer.Exit(code)


live = with_options(StreamOptions, before="url")(with_options(JobParams, before="url", only=OF_JOBS)(live_command))


def _at_service(run: LiveRun, url: str | None) -> Exit:
    from parascribe.client.client import AsyncClient

    return run.go(lambda: AsyncClient(url))


def _here(run: LiveRun) -> Exit:
    from parascribe.cli.live.local import local_streams

    with local_streams(settings(), run.options) as streams:
        return run.go(lambda: streams)


def _source(given: str, *, fast: bool, raw: bool, quiet: bool) -> Source:
    from parascribe.cli.live.sources import address_source, file_source, stdin_source
    from parascribe.client.inputs import STDIN, media_file

    if re.match(r"(rtsps?|https?|rtmps?)://", given, re.IGNORECASE):
        return address_source(given, remark=(lambda text: None) if quiet else _remark)
    path = media_file(given)
    return stdin_source(raw=raw) if path == STDIN else file_source(path, fast=fast)


def _remark(text: str) -> None:
    from parascribe.screen.render import printable

    note(f"parascribe: {printable(text)}")


def _outputs(*, json: bool, alone: bool, quiet: bool, srt: Path | None, vtt: Path | None) -> list[Output]:
    from parascribe.cli.live.outputs import JsonLines, Lines, Remarks, Screen, Subtitles

    found: list[Output] = [JsonLines() if json else Screen() if alone and sys.stdout.isatty() else Lines()]
    try:
        found += [Subtitles(srt, "srt")] if srt else []
        found += [Subtitles(vtt, "vtt")] if vtt else []
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}") from error
    return found if quiet else [*found, Remarks()]
