"""`wavemill completion`."""

from __future__ import annotations

import click

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, options and batches with the Tab key.

    Add to ~/.bashrc:  eval "$(wavemill completion bash)"

    Add to ~/.zshrc:  eval "$(wavemill completion zsh)"

    Or write it to a file: wavemill completion fish > ~/.config/fish/completions/wavemill.fish

    Example: wavemill completion bash
    """
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    assert complete is not None
    click.echo(complete(ctx.find_root().command, {}, "wavemill", "_WAVEMILL_COMPLETE").source())
