"""``callboard config secrets``: how the file of secrets is written, and whether one is right."""

import os
from pathlib import Path

import click

from actors.cli import rendering
from actors.cli.session import leave
from bus import files
from bus.errors import ProblemError
from bus.security.secrets import FILE_SETTING, SecretEntry
from schemas.ids import Token

EXAMPLE = f"""\
# The file that {FILE_SETTING} names. An agent names a secret as provider.secret; without one
# it is the usual one of its provider (openai, anthropic, …), which needs no entry here.
# Keys themselves stand in the environment of the processes that ask models, never in this file.
team-a:                       # the name that agents give
  env: TEAM_A_KEY             # the variable that holds the key
  hosts: [api.openai.com]     # where the key may go: over https, or to this machine
own-server:
  env: OWN_SERVER_KEY
  hosts: ["127.0.0.1:8080"]
  tenants: [local]            # whom it serves; without this line every tenant
  payer: tenant               # who pays for what it buys; without this line the operator
"""

HOW = f"""
Start the fleet with {FILE_SETTING} set to the file's path, and with the variables set.
Each machine of a fleet needs both: work goes to a process that has the secret."""


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--example", is_flag=True, help="Print only the example, to begin a file with.")
def secrets(file: Path | None, *, example: bool) -> None:
    """Show how the file of secrets is written, or check FILE and list what is in it.

    Values are never shown: of a variable only whether it is set here.
    """
    if file is not None:
        _check(file)
        return
    rendering.line(EXAMPLE, end="")
    if not example:
        rendering.line(HOW)


def _check(file: Path) -> None:
    try:
        entries = files.of(file, dict[Token, SecretEntry])
    except ProblemError as error:
        leave(error)
    rendering.table(
        ("name", "variable", "set here", "hosts", "tenants", "payer"),
        (
            (
                name,
                entry.env,
                bool(os.environ.get(entry.env, "").strip()),
                ", ".join(entry.hosts),
                ", ".join(entry.tenants),
                entry.payer,
            )
            for name, entry in entries.items()
        ),
    )
