"""slurm-nb completion"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for bash, zsh or fish.

    \b
    bash, in ~/.bashrc:                    eval "$(slurm-nb completion bash)"
    zsh, in ~/.zshrc, after compinit:      eval "$(slurm-nb completion zsh)"
    fish, in ~/.config/fish/config.fish:   slurm-nb completion fish | source
    """  # noqa: D301  click keeps the lines after \b
    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"click has no completion for {shell}")
    root = ctx.find_root().command
    click.echo(completion(root, {}, "slurm-nb", "_SLURM_NB_COMPLETE").source())
