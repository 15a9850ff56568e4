"""`parascribe webhooks list | add | remove | rotate | resume | deliveries | redeliver`: who is told when jobs have ended."""

from __future__ import annotations

from typing import Annotated

import typer

from core.webhooks import CALLBACK, EVENTS, DeliveryStatus
from parascribe.cli.commands.common import (
    AfterOption,
    Exit,
    JsonOption,
    LimitOption,
    UrlOption,
    connect,
    each,
    note,
    print_json,
    print_page,
)

app = typer.Typer(no_args_is_help=True, help="Who is told when jobs have ended (docs/how-to/webhooks.md).")

Id = Annotated[str, typer.Argument(metavar="ID", help=f"Id of the webhook; {CALLBACK} for the --callback-url of jobs.")]


@app.command("list")
def list_(url: UrlOption = None, json: JsonOption = False) -> None:
    """List your webhooks, oldest first."""
    from parascribe.screen.render import table

    with connect(url) as client:
        found = client.webhooks.list()
    if json:
        print_json(found)
        return
    columns = ("ID", "URL", "STATUS", "FAILURES", "EVENTS")
    table(
        columns,
        [(one["id"], one["url"], one["status"], str(one["failures"]), ",".join(one["events"])) for one in found],
    )


@app.command()
def add(
    address: Annotated[str, typer.Argument(metavar="URL", help="Address that is told, by a POST.")],
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            help=f"Of what; may be given several times: {', '.join(EVENTS)} [default: all].",
            show_default=False,
        ),
    ] = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Add a webhook and print its secret, once: with it the receiver verifies what it gets."""
    with connect(url) as client:
        made = client.webhooks.add(address, events=events or ())
    print_json(made) if json else print(made["secret"])
    note(f"The webhook is {made['id']}. Its secret is not shown again; `parascribe webhooks rotate` makes another.")


@app.command()
def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of the webhooks.")], url: UrlOption = None
) -> None:
    """Remove webhooks: nothing more is sent there."""
    with connect(url) as client:
        well = each(ids, client.webhooks.remove)
    if not well:
        raise typer.Exit(Exit.FAILED)


@app.command()
def rotate(webhook_id: Id, url: UrlOption = None) -> None:
    """Print a new secret, once. For a day the one before it signs too."""
    with connect(url) as client:
        print(client.webhooks.rotate(webhook_id))


@app.command()
def resume(webhook_id: Id, url: UrlOption = None) -> None:
    """Send again to a webhook that was paused or disabled, what waits first."""
    with connect(url) as client:
        client.webhooks.resume(webhook_id)


@app.command()
def deliveries(
    webhook_id: Id,
    status: Annotated[
        str | None, typer.Option("--status", "-s", help=f"Only those that stand there: {', '.join(DeliveryStatus)}.")
    ] = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """List what was sent to a webhook and what is to be, newest first."""
    with connect(url) as client:
        page = client.webhooks.deliveries(webhook_id, status=status, limit=limit, after=after)
    rows = [
        (
            one["id"],
            one["event"],
            one["subject"],
            one["status"],
            str(one["attempts"]),
            one["last_error"] or str(one["last_status"] or "-"),
        )
        for one in page["items"]
    ]
    print_page(page, ("ID", "EVENT", "JOB", "STATUS", "ATTEMPTS", "LAST ANSWER"), rows, json=json)


@app.command()
def redeliver(
    webhook_id: Id,
    delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery.")],
    url: UrlOption = None,
) -> None:
    """Send a delivery once more, under the same id."""
    with connect(url) as client:
        client.webhooks.redeliver(webhook_id, delivery_id)
