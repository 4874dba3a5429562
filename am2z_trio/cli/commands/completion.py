"""`am2z completion`: for bash and zsh, written by shtab (extra `cli`) from the very parser."""

from __future__ import annotations

import argparse

from am2z_trio.model.errors import ConfigurationError

from ..exits import DONE
from ..parsing import Commands, add_command

EXAMPLES = (
    "am2z completion bash > ~/.local/share/bash-completion/completions/am2z",
    'eval "$(am2z completion zsh)"',
)

SHELLS = ("bash", "zsh")


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "completion",
        _completion,
        "print what makes a shell complete these commands",
        example=EXAMPLES,
        redis=False,
    )
    parser.add_argument("shell", choices=SHELLS)


async def _completion(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        raise ConfigurationError("completion needs shtab: pip install 'am2z-trio[cli]'") from None
    print(shtab.complete(options.parser, options.shell))
    return DONE
