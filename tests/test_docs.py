"""The documentation is true: generated pages are current, links lead somewhere, commands and addresses exist."""

from __future__ import annotations

import functools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import whisper
from scripts import docs

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GENERATED = docs.pages()


@pytest.mark.parametrize(("path", "text"), GENERATED.items(), ids=[path.name for path in GENERATED])
def test_generated_pages_are_current(path, text):
    assert path.read_text("utf-8") == text, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_settings_named_in_the_documentation_exist(page):
    from core.config.settings import Settings
    from core.config.sources import FORGOTTEN, FORMER, file_names

    known = {name.upper() for name in (*Settings.model_fields, *file_names(Settings), *FORMER, *FORGOTTEN)}
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


CALL = re.compile(r"(?:^|[|;&(`]\s*|\$ )(?:[A-Z_]+=\S+ +)*(?:\.venv/bin/)?parascribe ([^`|;&>#)\n]*)", re.MULTILINE)
REQUEST = re.compile(
    r"(?:https?://[\w.:]+|localhost:8000)(/(?:api|v1|asr|inference|healthz|readyz|version)[\w./${}<>-]*)"
)
NAMED = re.compile(r"`(GET|POST|PUT|PATCH|DELETE|HEAD) (/[\w./${}-]*)")
PLACE = re.compile(r"/(?:\$\{?\w+\}?|\{\w+\}|ID|[0-9a-f]{8}-[0-9a-f.-]+)(?=/|$)")
"""Of an id."""


@functools.cache
def program():
    import typer.main

    from parascribe.cli.program import app

    return typer.main.get_command(app)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_the_documentation_exist(page):
    """With their options; in prose too."""
    for call in CALL.finditer(page.read_text("utf-8")):
        command, words = program(), shlex.split(call[1])
        while hasattr(command, "commands") and words and not words[0].startswith("-"):
            assert words[0] in command.commands, call[0]
            command = command.commands[words.pop(0)]
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        given = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
        assert given <= known | {"--help"}, call[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_addresses_of_the_documentation_exist(page):
    described = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text("utf-8"))["paths"]
    known = {(method.upper(), PLACE.sub("/*", path)) for path, methods in described.items() for method in methods}
    known |= {("HEAD", path) for method, path in known if method == "GET"}
    paths = {path for _, path in known}
    text = page.read_text("utf-8")
    for path in REQUEST.findall(text):
        asked = PLACE.sub("/*", path.rstrip("/."))
        assert asked in paths or any(one.startswith(f"{asked}/") for one in paths), path
    for method, path in NAMED.findall(text):
        asked = PLACE.sub("/*", path.rstrip("/."))
        assert (method, asked) in known or (method, f"/api/v1{asked}") in known, f"{method} {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_targets_of_make_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|[`$ ])make ([a-z-]+)(?:[`\n]|  )", page.read_text("utf-8"))) <= targets
