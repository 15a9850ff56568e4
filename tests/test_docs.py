"""The documentation is true: generated pages are current, links lead somewhere, the README's commands run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import whisper
from scripts import docs

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("path", docs.pages(), ids=lambda p: p.name)
def test_generated_pages_are_current(path):
    assert path.read_text("utf-8") == docs.pages()[path], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_settings_named_in_the_documentation_exist(page):
    from core.config.settings import Settings
    from core.config.sources import file_names

    known = {name.upper() for name in (*Settings.model_fields, *file_names(Settings))}
    outside = {
        "PARASCRIBE_URL",
        "PARASCRIBE_API_KEY",
        "POSTGRES_PASSWORD",
        "VALKEY_PASSWORD",
        "MINIO_IMAGE",
        "PARASCRIBE_IMAGE",
        "CONSUMER_REPLICAS",
    }
    prefixes = tuple({name.split("_")[0] + "_" for name in known})
    for name in set(re.findall(r"`([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", page.read_text("utf-8"))):
        if name.startswith(prefixes) and not name.startswith(("PARASCRIBE_TEST_", "GGML_", "API_KEY")):
            assert name in known | outside, f"{page.name} names {name}"


def test_our_whisper_is_the_one_that_is_imported():
    assert Path(whisper.__file__).is_relative_to(ROOT)
    assert not (ROOT / "cmd" / "__init__.py").exists()


def test_pdb_and_cmd_still_work_beside_our_cmd_folder():
    done = subprocess.run([sys.executable, "-c", "import cmd, pdb; cmd.Cmd"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python_3_11_is_enough_for_the_bootstrap():
    """It runs before anything is installed: standard library only."""
    source = (ROOT / "scripts" / "bootstrap.py").read_text()
    imported = set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE))
    assert imported <= set(sys.stdlib_module_names) | {"__future__"}
