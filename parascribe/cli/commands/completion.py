"""`parascribe completion`: what a shell needs to complete our command lines."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print what makes a shell complete commands, options and their values.

    bash: add `eval "$(parascribe completion bash)"` to ~/.bashrc. zsh: the same with zsh, in ~/.zshrc, behind compinit.
    fish: `parascribe completion fish > ~/.config/fish/completions/parascribe.fish`.
    """
    # typer's public way asks which shell it runs in; this is what that prints
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="parascribe", complete_var="_PARASCRIBE_COMPLETE", shell=shell))
