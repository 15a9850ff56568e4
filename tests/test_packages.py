"""Each package says what it is, and which of its modules others use; the rest is its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSES = ("core", "whisper", "worker", "api", "parascribe")
DOORS = 13
"""Modules and packages directly inside of one package; who has more wants another floor."""
HALL = {"core": 17, "api": 14}
"""But for the ground floors, which have one door for each subject."""
LINES = 420
"""Of one module. Most have 60 to 250."""


def packages() -> list[str]:
    found = (file.parent for house in HOUSES for file in (ROOT / house).rglob("__init__.py"))
    return sorted(".".join(folder.relative_to(ROOT).parts) for folder in found)


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for house in HOUSES:
        for file in (ROOT / house).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, ast.parse(file.read_text())


def _imported() -> set[tuple[str, str]]:
    """(who, what): what is a module, a package, or a name in one of them."""
    found = set()
    for name, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {(name, alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {(name, f"{node.module}.{alias.name}") for alias in node.names}
    return found


IMPORTED = _imported()


def _docstring_and_all(package: str) -> tuple[str | None, list[str]]:
    tree = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.get_docstring(tree), ast.literal_eval(node.value)
    return ast.get_docstring(tree), []


@pytest.mark.parametrize("package", packages())
def test_a_package_exports_what_others_import(package: str) -> None:
    """`__all__` has the modules (and names of the package itself) that are imported from outside of it, and no others."""
    docstring, exported = _docstring_and_all(package)
    assert docstring, "one sentence that says what it is"
    used = {
        what.removeprefix(f"{package}.").partition(".")[0]
        for who, what in IMPORTED
        if what.startswith(f"{package}.") and who != package and not who.startswith(f"{package}.")
    }
    assert exported == sorted(used) or package == "parascribe" and {*exported} >= used


@pytest.mark.parametrize("package", packages())
def test_a_package_has_few_doors(package: str) -> None:
    inside = [
        path
        for path in (ROOT / package.replace(".", "/")).iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    ]
    assert len(inside) <= HALL.get(package, DOORS)


def test_no_module_is_a_book() -> None:
    files = [file for house in HOUSES for file in (ROOT / house).rglob("*.py")]
    assert not [str(file) for file in files if len(file.read_text().splitlines()) > LINES]
