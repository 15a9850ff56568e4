from __future__ import annotations

from scripts.docs_cli import TARGET, page


def test_the_page_about_the_command_line_is_up_to_date() -> None:
    assert TARGET.read_text(encoding="utf-8") == page(), "run: python -m scripts.docs_cli"
