"""How the programs of one installation are put together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.config.settings import Settings
from core.store.sql import SqlStore
from parascribe.run.parts import make_parts
from parascribe.run.wiring.about import system_info
from parascribe.run.wiring.engine import manager_options, plan_in_force, start_plan


def test_the_plan_is_resolved_once_for_all_programs(tmp_path: Path) -> None:
    """It depends on the memory that is free: a consumer that is started again beside a loaded model would find another."""
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", whisper_model="demo")
    plan = start_plan(settings, tmp_path)
    assert plan_in_force(tmp_path) == plan
    in_force = replace(plan, workers=7, threads=3)
    parts = make_parts(settings, SqlStore.in_memory(), tmp_path, "c", plan=in_force)
    assert (parts.plan, parts.width) == (in_force, 8)
    options = manager_options(settings, in_force)
    assert (options["workers"], options["threads"]) == (7, 3)
    assert system_info(settings, SqlStore.in_memory(), in_force)["plan"]["workers"] == 7
