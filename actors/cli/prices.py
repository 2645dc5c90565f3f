"""``callboard prices``: what models cost here, and where that comes from."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import click
import httpx

from actors.cli import rendering
from actors.cli.session import Session, leave, run, with_session
from actors.pricing.adapters import cross_check, shipped
from actors.pricing.adapters.books import Books, BookStore
from actors.pricing.adapters.sources import MOST_BYTES, Document, compiled
from actors.pricing.core.comparison import BookDifference, differences, dollars, regional, rendered
from actors.streaming.adapters.http import build_client
from bus import files
from bus.connection import NatsTransport, connect
from bus.errors import CallboardError, ProblemError, UnavailableError, problem
from bus.jetstream.bus import system_clock
from bus.kv.prices import BOOKS, PricesInForce, shipped_text
from bus.security.egress import Egress
from bus.streams.api import JetStream
from schemas.pricing.book import Book, BookError, Row, canonical, read
from schemas.pricing.names import WantedPrice, provider_of
from schemas.pricing.prices import Prices

LOOK_SECONDS = 1.0
FETCH_SECONDS = 30.0
OK = 200
MOST_SHOWN = 50
BOOK_BYTES = 64 * 1024 * 1024

SHIPPED, CURRENT, COMPILED = "shipped", "current", "compiled"

WHICH = f"""A book is `{CURRENT}` (the one in force, or the shipped one where no fleet runs),
`{SHIPPED}`, `{COMPILED}` (anew from genai-prices), the id of one that was in force, or a file."""


@click.group()
def prices() -> None:
    """Look at the rate book and change it. Changes need a user of the fleet."""


@prices.command()
@click.argument("model")
@click.option("--provider", help="Only of this one.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as they are in the book.")
@with_session
def show(session: Session, model: str, provider: str | None, *, as_json: bool) -> None:
    """Show what MODEL costs: the row it means, or all rows with it in their names."""
    book = prices_of(session, CURRENT)
    rows = list(_rows_of(book, model, provider))
    if as_json:
        rendering.json(
            [{"provider": name, "model": row_name, **_plain(row)} for name, row_name, row in rows]
        )
        return
    for name, row_name, row in rows[:MOST_SHOWN]:
        rendering.line(f"{name}/{row_name}  [{row.source or _source(book)}]")
        for price in row.prices:
            rendering.line(f"    {rendered(price)}")
        for variant, priced in row.variants.items():
            for price in priced:
                rendering.line(f"    {variant}: {rendered(price)}")
        for place in regional(row):
            rendering.line(f"    {place}")
        for dispute in row.disputed:
            other = f"{dispute.bucket} {dollars(dispute.bucket, dispute.rate)}"
            rendering.line(f"    disputed: {dispute.key} has {dispute.variant} {other}")
    if not rows:
        leave(problem("not_found", f"the rate book has no model {model}"))
    rendering.line(f"{len(rows)} rows of book {book.book_id[:12]}; dollars for a million tokens")


@prices.command(epilog=WHICH)
@click.argument("old", default=CURRENT)
@click.argument("new", default=COMPILED)
@with_session
def diff(session: Session, old: str, new: str) -> None:
    """Show the rows in which two books differ: what a refresh would change."""
    _tell(differences(_book(session, old), _book(session, new)))


@prices.command()
@click.argument("sources", nargs=-1, metavar="[FILE|URL]...")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the book into this file and leave the fleet alone.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@with_session
def refresh(
    session: Session, sources: tuple[str, ...], output: Path | None, *, dry_run: bool
) -> None:
    """Compile the book anew and put it in force: all of it at once, or nothing.

    A FILE or URL is a list that genai-prices publishes, or an offer file of the AWS price list with
    what Bedrock costs in its regions. Without a list of genai-prices the installed package is
    taken. URLs are asked for within the fleet's policy on addresses. Rows of one's own (`import`)
    stay over the book. It needs the extra `pricing-refresh`.
    """
    try:
        book, unknown = compiled([_document(session, source) for source in sources])
    except CallboardError as error:
        leave(error)
    if unknown:
        rendering.line(f"{len(unknown)} models of AWS are not in the book: {', '.join(unknown)}")
    if dry_run:
        _tell(differences(read(prices_of(session, CURRENT).text), book))
        return
    if output is not None:
        try:
            output.write_bytes(canonical(book))
        except OSError as error:
            leave(problem("validation", f"{output}: {error.strerror}"))
        rendering.line(f"{output}: book {Prices(canonical(book)).book_id}")
        return
    _change(session, lambda store: store.refresh(book))


def _document(session: Session, source: str) -> Document:
    if urlsplit(source).scheme in ("http", "https"):
        return Document(source, run(partial(_fetched, session, source)))
    return Document(source, files.read(source, most=MOST_BYTES))


async def _fetched(session: Session, url: str) -> bytes:
    """Return what is at a URL.

    Raises:
        ProblemError: ``forbidden``: the address is closed to connections of the fleet;
            ``unavailable``; ``validation``: it is too large.
    """
    config = session.config
    egress = Egress(allow_loopback=config.allow_loopback, allowed=config.allowed_hosts)
    client = build_client(
        egress, connect_timeout=FETCH_SECONDS, read_timeout=FETCH_SECONDS, keep_alive=0
    )
    data = bytearray()
    try:
        with anyio.fail_after(10 * FETCH_SECONDS):
            async with client, client.stream("GET", url) as response:
                if response.status_code != OK:
                    reason = f"{url} answers with status {response.status_code}"
                    raise problem("unavailable", reason)
                async for part in response.aiter_raw():
                    data += part
                    if len(data) > MOST_BYTES:
                        raise problem("validation", f"{url} has more than {MOST_BYTES} bytes")
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        reason = f"{url} does not answer: {type(error).__name__}"
        raise problem("unavailable", reason, retryable=True) from None
    return bytes(data)


@prices.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_session
def import_rows(session: Session, file: Path) -> None:
    """Lay the rows of FILE (TOML or JSON) over the book, in the place of those before."""
    try:
        overlay = shipped.read_overlay(file)
    except CallboardError as error:
        leave(error)
    _change(session, lambda store: store.lay_over(overlay))


@prices.command("second-opinion")
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", default="litellm", show_default=True, help="Its name and version.")
@click.option("--write", is_flag=True, help="Renew the overlays that are made of it.")
def second_opinion(table: Path, source: str, *, write: bool) -> None:
    """List the rows for which litellm's TABLE has other rates. For development."""
    try:
        regions, doubts = cross_check.cross_checked(cross_check.read_table(table), source)
    except CallboardError as error:
        leave(error)
    rows = (
        (
            row.provider,
            row.model,
            dispute.variant,
            dispute.bucket,
            dispute.key,
            dollars(dispute.bucket, dispute.rate),
        )
        for row in doubts.disputed
        for dispute in row.disputes
    )
    rendering.table(("provider", "model", "variant", "bucket", "disputed by", "which has"), rows)
    rendering.line(f"{len(doubts.disputed)} disputed rows, {len(regions.rows)} rows of regions")
    if write:
        cross_check.write(regions, doubts)


_BY_WEIGHT = ("changed", "added", "removed")
"""A price that differs is what one looks for."""


def _tell(found: Iterable[BookDifference]) -> None:
    first = sorted(found, key=lambda one: _BY_WEIGHT.index(one.change))
    rows = [(one.change, f"{one.provider}/{one.model}", one.before, one.after) for one in first]
    rendering.table(("", "row", "before", "after"), rows[:MOST_SHOWN], total=len(rows))


def _rows_of(book: Prices, model: str, provider: str | None) -> Iterable[tuple[str, str, Row]]:
    """Return the row that a name means at each provider; else those whose names contain it."""
    chosen = provider_of(book.book, provider) if provider else None
    names = [chosen or ""] if provider else sorted(book.book.providers)
    meant = {
        (found.provider, found.model): None
        for name in names
        if (found := book.find(WantedPrice(name, model))) is not None and found.model != "any"
    }
    like = meant or {
        (name, row): None for name in names for row in book.models(name) if model.lower() in row
    }
    for name, row_name in like:
        row = book.row(name, row_name)
        if row is not None:
            yield name, row_name, row


def _plain(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def _source(book: Prices) -> str:
    return " ".join(
        f"{name} {version}" for name, version in book.book.sources.items() if " " not in name
    )


# Books


def _book(session: Session, name: str) -> Book:
    try:
        return shipped.compiled() if name == COMPILED else read(prices_of(session, name).text)
    except CallboardError as error:
        leave(error)


def prices_of(session: Session, name: str) -> Prices:
    """Return the prices of a book that is named as ``WHICH`` says; none ends the command."""
    try:
        if name == SHIPPED:
            return Prices(shipped_text())
        if Path(name).is_file():
            return Prices(files.read(name, most=BOOK_BYTES))
    except ProblemError as error:
        leave(error)
    except BookError as error:
        leave(problem("validation", f"{name}: {error}"))
    if name == CURRENT:
        return _look(session)
    return session.run_as_fleet(lambda transport: _kept(transport, name))


def _look(session: Session) -> Prices:
    """Return the book in force, or the shipped one where nobody runs a fleet."""

    async def look() -> Prices:
        try:
            async with connect(session.address(LOOK_SECONDS)) as transport:
                return await _store(transport).current()
        except CallboardError as error:
            if session.named and not isinstance(error, UnavailableError):
                raise
            rendering.line("no fleet tells its prices: this is the book that ships", err=True)
            return Prices(shipped_text())

    return anyio.run(look)


async def _kept(transport: NatsTransport, name: str) -> Prices:
    bucket = BOOKS.open(transport, JetStream(transport))
    return await Books(PricesInForce(), bucket).get(name)


def _store(transport: NatsTransport) -> BookStore:
    return BookStore(BOOKS.open(transport, JetStream(transport)), system_clock)


def _change(session: Session, change: Callable[[BookStore], Awaitable[Prices]]) -> None:
    async def body(transport: NatsTransport) -> tuple[Prices, Prices]:
        store = _store(transport)
        return await store.current(), await change(store)

    before, after = session.run_as_fleet(body)
    _tell(differences(read(before.text), read(after.text)))
    rendering.line(f"book {after.book_id} is in force")
