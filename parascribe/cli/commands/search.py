"""`parascribe search`: where something was said, and the index that it is found by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import typer

from parascribe.cli.commands.common import AfterOption, JsonOption, UrlOption, connect, note, print_page, settings

REBUILD = "rebuild"
ROUND_SECONDS = 5.0
"""How often a rebuild says how far it is."""


def search(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORDS|rebuild",
            help='Words, "phrases" and beginnings*; all of them have to be there. Alone, `rebuild` writes the index of the '
            "database that the settings name anew (the word itself is found by '\"rebuild\"').",
        ),
    ],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=50, help="How many jobs.")] = 20,
    after: AfterOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Find what was said, and names of files: newest jobs first, with the times of the segments."""
    if words == [REBUILD]:
        _rebuild()
        return
    with connect(url) as client:
        page = client.search(" ".join(words), limit=limit, after=after)
    from parascribe.client.bodies import Hit
    from parascribe.screen.render import clock

    def rows(hit: Hit) -> Iterator[tuple[str, ...]]:
        job_id, name = hit["job"]["id"], hit["job"]["source"]["filename"]
        for segment in hit["segments"]:
            yield job_id, name, clock(segment["start"]), "".join(part["text"] for part in segment["snippet"])
        if not hit["segments"]:
            yield job_id, name, "-", ""

    found = (row for hit in page["items"] for row in rows(hit))
    print_page(page, ("ID", "FILE", "AT", "TEXT"), found, json=json)


def _rebuild() -> None:
    from core.queue.indexing import index_due
    from parascribe.run.wiring.stores import open_objects, open_store

    found = settings()
    objects = open_objects(found)
    with closing(open_store(found)) as store:
        total, done = store.index_anew(), 0
        note(f"{total} jobs are written into the search index; what is there is found meanwhile.")
        while count := index_due(store, objects, seconds=ROUND_SECONDS):
            done += count
            note(f"{done} of {total}")
    print(done)
