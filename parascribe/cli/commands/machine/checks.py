"""`parascribe doctor | plan | config`: what is the case on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from parascribe.cli.commands.common import Exit, JsonOption, note, print_json, settings


def doctor(json: JsonOption = False) -> None:
    """Check every part this machine's settings name, and say what to do about what is wrong.

    Exit code 1 when a check failed. Nothing is changed but caches.
    """
    from parascribe.screen.render import table
    from parascribe.tools.doctor import run_checks

    checks = run_checks(settings())
    if json:
        print_json([check.to_dict() for check in checks])
    else:
        table(("CHECK", "STATE", "FOUND"), [(check.name, check.state, check.found) for check in checks])
        for check in checks:
            if check.advice:
                note(f"{check.name}: {check.advice}")
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(Exit.FAILED)


def plan(json: JsonOption = False) -> None:
    """Show how many engine workers and threads this machine would get, and why."""
    from parascribe.run.wiring.engine import plan_of

    conf = settings()
    found = plan_of(conf)
    if json:
        print_json(found.to_dict())
        return
    mode = "parallel" if found.parallel else "sequential"
    print(f"{found.workers} workers x {found.threads} threads, shared by up to {found.jobs} jobs at once ({mode})")
    print(f"on {found.cores:g} cores and {found.memory_mb} MB, for the model {conf.whisper_model}")
    for reason in (*found.reasons, *found.pool):
        print(f"  {reason}")
    for warning in found.warnings:
        note(f"warning: {warning}")


def config(
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the settings in force; secrets and passwords are masked."""
    from json import dumps as as_json

    from core.config.loading import remarks
    from whisper.download.fetch import shown as without_password

    conf = settings()
    shown: dict[str, str] = {}
    for name, field in type(conf).model_fields.items():
        value = getattr(conf, name)
        if not changed or value != field.get_default(call_default_factory=True):
            if isinstance(value, list):
                value = ",".join(map(without_password, value))
            elif isinstance(value, dict):
                value = as_json(value, ensure_ascii=False)
            shown[name.upper()] = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if json:
        print_json(shown)
    else:
        for name, value in shown.items():
            print(f"{name}={value}")
    for line in remarks(conf):
        note(f"warning: {line}")
