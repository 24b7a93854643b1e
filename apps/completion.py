"""``warren completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

_NAME, _VARIABLE = "warren", "_WARREN_COMPLETE"
_SHELLS = {
    "bash": '~/.bashrc: eval "$(warren completion bash)"',
    "zsh": '~/.zshrc: eval "$(warren completion zsh)"',
    "fish": "~/.config/fish/completions/warren.fish: warren completion fish | source",
}


@click.command(epilog="\b\nExamples:\n" + "\n".join(f"  {line}" for line in _SHELLS.values()))
@click.argument("shell", type=click.Choice([*_SHELLS]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what SHELL reads to complete the commands and options of warren.

    Put the line below into the file that is named with it; bash has to be 4.4 or newer.
    """
    made = get_completion_class(shell)
    assert made is not None, "click knows each of the shells"
    # Written for the bash that reads it, whatever bash is found here.
    script = made(ctx.find_root().command, {}, _NAME, _VARIABLE)
    click.echo(script.source_template % script.source_vars())
