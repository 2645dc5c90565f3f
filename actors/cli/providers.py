"""The commands about model providers: trying a live endpoint, and how those fare that are used."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from actors.cli import checks, rendering
from actors.cli.session import EXIT_FAILURE, Session, run, with_session
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.operator_secrets import operator_secrets
from actors.streaming.adapters.providers import Providers, open_providers
from actors.streaming.config import StreamingConfig
from actors.streaming.core.checks.conformance import CASES, NAMES, CaseFinding, RunPolicy
from actors.streaming.flow.conformance import WRONG_SECRET, Conformance
from bus.config import load
from bus.security.egress import Egress
from bus.security.secrets import SecretEntry, Secrets
from schemas import bounds
from schemas.base import StrictValue
from schemas.providers import Provider

_MARKS = {"ok": ("ok  ", "green"), "lacking": ("--  ", "yellow"), "failed": ("FAIL", "red")}


@click.group()
def provider() -> None:
    """Try model providers, and see how they fare."""


@provider.command("list")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@with_session
def list_(session: Session, *, json_: bool) -> None:
    """List the endpoints that were called lately, as each streaming process has seen them.

    An open circuit lets no call through for the seconds shown; half open means that one call will
    be let in to try. Keys rest that were refused or limited.

    For operators: it needs a user of the fleet.
    """
    told = session.run_as_fleet(checks.told)
    if json_:
        rendering.json(sorted(told, key=lambda one: one.process))
        return
    rendering.table(
        ("process", "endpoint", "circuit", "opens in s", "failures", "keys in use", "keys at rest"),
        (
            (
                one.process,
                state.endpoint,
                state.circuit.replace("_", " "),
                f"{state.opens_in_seconds:.0f}" if state.circuit == "open" else "",
                state.failures,
                sum(key.in_use for key in state.keys),
                ", ".join(
                    f"{key.name or 'none'} {key.resting_seconds:.0f} s"
                    for key in state.keys
                    if key.resting_seconds
                ),
            )
            for one in sorted(told, key=lambda one: one.process)
            for state in one.endpoints
        ),
    )


@provider.command()
@click.argument("model", metavar="PROVIDER/MODEL")
@click.option("--base-url", help="Another server than the provider's usual one.")
@click.option("--secret", help="The name of the key to use.")
@click.option(
    "--set",
    "more",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Any other field of the provider, such as api=responses or region=eu-west-1.",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(NAMES),
    metavar="CASE",
    help=f"Ask only this; may be repeated.  [{', '.join(NAMES)}]",
)
@click.option(
    "--patience",
    type=click.FloatRange(0.1, 3600),
    default=120.0,
    show_default=True,
    help="Seconds each case may take.",
)
@click.option(
    "--embedding-model",
    metavar="MODEL",
    help="The provider's model for embeddings, which are asked for as well.",
)
@click.option("--temperature", type=float, help="0 for answers that vary little.")
@click.option(
    "--max-tokens",
    type=click.IntRange(16),
    help="The most tokens of an answer, for models that are slow.",
)
@click.option("--json", "json_", is_flag=True, help="Print what was found as JSON.")
@with_session
def check(
    session: Session,
    model: str,
    more: Sequence[str],
    only: Sequence[str],
    *,
    patience: float,
    json_: bool,
    **fields: Any,
) -> None:
    """Ask a live model, such as openai/gpt-4o-mini, all that an agent may ask of it.

    Needs no fleet: keys are read from this environment. What the model cannot do is marked with --;
    exits with 1 if anything else is wrong. The questions are short, but they are paid for.
    """
    policy = RunPolicy(fields.pop("temperature"), fields.pop("max_tokens"))
    embedding_model = fields.pop("embedding_model")
    wanted = named(model, fields, more)
    show = _kept if json_ else _show

    async def body() -> list[CaseFinding]:
        found: list[CaseFinding] = []
        async with _battery(session, wanted, policy, embedding_model) as battery:
            async for finding in battery.findings(session.tenant, patience, only or NAMES):
                found.append(finding)
                show(finding)
        return found

    found = run(body)
    if json_:
        rendering.json([finding._asdict() for finding in found])
    if any(finding.verdict == "failed" for finding in found):
        raise click.exceptions.Exit(EXIT_FAILURE)


def named(model: str, fields: Mapping[str, Any], more: Sequence[str]) -> Provider:
    """Return the provider that the command line names, or say what is wrong with it."""
    kind, _, name = model.partition("/")
    given = {field: value for field, value in fields.items() if value is not None}
    for pair in more:
        field, equals, value = pair.partition("=")
        if not field or not equals:
            raise click.BadParameter(f"{pair!r} must be FIELD=VALUE", param_hint="--set")
        given[field] = value
    try:
        whole = {"provider": {"type": kind, "model": name, **given}}
        bounds.check_value(whole)
        return msgspec.convert(whole, _Named, strict=False).provider
    except msgspec.ValidationError as error:
        raise click.UsageError(str(error)) from None


class _Named(StrictValue):
    provider: Provider


@asynccontextmanager
async def _battery(
    session: Session, wanted: Provider, policy: RunPolicy, embedding_model: str | None
) -> AsyncGenerator[Conformance]:
    """Hold the provider's connections open, and those that come with a wrong key."""
    config = load(StreamingConfig, os.environ)
    egress = Egress(allow_loopback=True, allowed=session.config.allowed_hosts)
    async with open_providers(config, egress, operator_secrets(config)) as providers:
        wrong = _wrong(_host(providers, wanted))
        async with open_providers(config, egress, wrong) as strangers:
            yield Conformance(wanted, providers, strangers, policy, embedding_model)


def _host(providers: Providers, wanted: Provider) -> str:
    called = providers[type(wanted)]
    if not isinstance(called, HttpProvider):
        return "localhost"
    return urlsplit(called.endpoint.base_url(CASES[0].request(wanted))).netloc


def _wrong(host: str) -> Secrets:
    entry = SecretEntry(env="WRONG_KEY", hosts=(host,))
    return Secrets({WRONG_SECRET: entry}, {"WRONG_KEY": "no-key-that-anybody-knows"})


def _kept(_finding: CaseFinding) -> None:
    """Say nothing before the end."""


def _show(finding: CaseFinding) -> None:
    mark, colour = _MARKS[finding.verdict]
    rendering.line(rendering.styled(mark, fg=colour), f" {finding.case:<15} {finding.detail}")
