"""What the contract offers: subjects, documents, settings, permissions."""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import click

from actors.cli import rendering
from actors.cli.config import CliConfig
from actors.cli.secrets import secrets
from actors.cli.session import leave
from bus.config import reference as settings
from bus.config.reading import beside
from bus.errors import CallboardError
from bus.security import issuer as issuers
from bus.security import permissions as accounts
from bus.security.nkeys import is_public
from schemas import catalog, documents


@click.command()
def version() -> None:
    """Print the version."""
    rendering.line(metadata.version("callboard"))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def subjects(*, as_json: bool) -> None:
    """List every subject of the public contract and the messages on it."""
    requests, facts = catalog.requests(), _facts()
    if as_json:
        rendering.json(
            {
                "requests": [
                    {
                        "subject": row.subject,
                        "submit": row.submit,
                        "request": row.message.__name__,
                        "reply": row.reply.__name__,
                        "action": row.action,
                        "doc": row.doc,
                    }
                    for row in requests
                ],
                "facts": [
                    {"subject": row.subject, "message": row.message.__name__, "doc": row.doc}
                    for row in facts
                ],
            }
        )
        return
    asked = (
        (row.subject, row.message.__name__, row.reply.__name__, row.action, row.doc)
        for row in requests
    )
    rendering.table(("request on", "message", "reply", "needs", "what for"), asked)
    rendering.line(
        "Durable, where it changes something: cb.{tenant}.submit.<the rest of the subject>"
    )
    published = ((row.subject, row.message.__name__, row.doc) for row in facts)
    rendering.table(("subscribe to", "message", "what it tells"), published)


@click.command()
@click.argument("kind", type=click.Choice(["asyncapi", "json"]))
def schema(kind: str) -> None:
    """Print the contract as an AsyncAPI 3 document, or as JSON Schema."""
    rendering.json(documents.asyncapi() if kind == "asyncapi" else documents.json_schema())


@click.group()
def config() -> None:
    """Show what can be configured."""


@config.command()
@click.option("--constants", is_flag=True, help="The times and bounds that cannot be set, too.")
def reference(*, constants: bool) -> None:
    """Print every setting with default and meaning, as a Markdown table."""
    rendering.line(settings.reference(beside(CliConfig)), end="")
    if constants:
        rendering.line(f"\n{settings.constants()}", end="")


config.add_command(secrets)


@click.group()
def nats() -> None:
    """Write configuration for a nats-server."""


@nats.command()
@click.argument("users", nargs=-1, required=True, metavar="TENANT:USER…")
@click.option("--issuer", metavar="KEY", help="Let in who has an API key: who signs that.")
def permissions(users: Sequence[str], issuer: str | None) -> None:
    """Print the accounts, users and permissions of tenants, to include in nats.conf.

    Passwords are variables that nats-server takes from its environment. With --issuer, the public
    key that `callboard nats issuer` prints, whoever is none of these users may connect with an API
    key as token: `callboard keys create` makes one.
    """
    if issuer is not None and not is_public(issuer, "account"):
        raise click.BadParameter("is no public key of an account", param_hint="--issuer")
    tenants: dict[str, list[str]] = {}
    for item in users:
        tenant, colon, user = item.partition(":")
        if not colon:
            raise click.BadParameter(f"{item!r} must be TENANT:USER", param_hint="TENANT:USER")
        tenants.setdefault(tenant, []).append(user)
    try:
        rendering.line(accounts.render(tenants, issuer), end="")
    except CallboardError as error:
        leave(error)


@nats.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def issuer(file: Path) -> None:
    """Make the key that signs who may connect, and print its public half.

    FILE is new, and its user's alone; processes of identity read it (CALLBOARD_ISSUER_FILE).
    """
    try:
        rendering.line(issuers.create(file).public)
    except CallboardError as error:
        leave(error)


def _facts() -> tuple[catalog.FactRow, ...]:
    return (*catalog.stream_events(), *catalog.events(), *catalog.records())
