"""The SQLite file of a projection: rows and checkpoint in one transaction. Blocking.

The file is in WAL mode and not synced at every commit. A crash of the machine may take the newest
transactions, and with them the checkpoint, so that they are applied again.
"""

import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from bus.errors import ProblemError
from bus.ports import Filed
from bus.projection.checkpoint import Checkpoint
from bus.projection.definition import UNFIT, Fact, Projection
from schemas.journal import NOTHING, Commit

log = structlog.get_logger()

T = TypeVar("T")
Batch = Sequence[tuple[Filed, Commit | None]]
"""Commits as they were read; None where nothing of one can be."""

FORMAT = 2
"""Of the tables below."""

TABLES = """
CREATE TABLE projection (
    format INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
    incarnation TEXT NOT NULL, position INTEGER NOT NULL, at INTEGER
);
CREATE TABLE projection_shard (subject TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
"""

SETTINGS = """
PRAGMA journal_mode = wal;
PRAGMA synchronous = normal;
PRAGMA cache_size = -16000;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA temp_store = memory;
"""

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
SETTLED_TOGETHER = 8192
"""Events: some 100 ms of work."""

READERS = 4
"""Connections that are kept for questions: to open one costs as much as most answers."""

STEPS_BETWEEN_LOOKS = 20_000
"""Of SQLite's machine, some milliseconds; then a query looks whether its time is over."""

_OPENING = b'{"type":"'
"""How our own encoder begins an event: its type is known without reading the rest."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Return a moment as it stands in tables: microseconds since 1970, in UTC."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """Return the moment of ``microseconds``."""
    return _EPOCH + at * _MICROSECOND


class ProjectionFile:
    """One copy of a projection. One thread at a time may change it; any may ask."""

    def __init__(self, path: Path, projection: Projection) -> None:
        self.path = path
        self.projection = projection
        self.checkpoint = Checkpoint()
        self._connection: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._openings = 0
        self._unsettled = 1
        """Events since the rows were settled; of a file that is opened nobody knows."""
        self._events = msgspec.json.Decoder(projection.event_type)
        self._states = msgspec.json.Decoder(projection.base_type or Any)
        self._wanted = tuple(_openings(projection.event_type))

    def open(self) -> None:
        """Open the file, or make it; one of another version begins anew, as does a damaged one."""
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            self.discard()

    def close(self) -> None:
        """Close the file; it can be opened again."""
        self._openings += 1
        while self._readers:
            self._readers.pop().close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def discard(self) -> None:
        """Remove a file that is damaged, and make it anew."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._open()

    def reset(self, incarnation: str) -> None:
        """Forget everything: what follows is applied from the beginning of the journal."""
        with self._changing() as rows:
            found = (
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
            for (table,) in rows.execute(found).fetchall():
                rows.execute(f'DROP TABLE "{table}"')
            for statement in _statements(TABLES + self.projection.tables):
                rows.execute(statement)
            known = (FORMAT, self.projection.name, self.projection.version, incarnation, 0)
            rows.execute("INSERT INTO projection VALUES (?, ?, ?, ?, ?, NULL)", known)
        self.checkpoint = Checkpoint(incarnation)

    def adopt(self, incarnation: str) -> None:
        """Say whose the rows are, once all is there of which that journal no longer tells."""
        with self._changing() as rows:
            rows.execute("UPDATE projection SET incarnation = ?", (incarnation,))
        self.checkpoint.incarnation = incarnation

    def show(self, views: Sequence[bytes]) -> None:
        """Make rows of stored views; one that cannot be read is left out."""
        if self.projection.views is None:
            return
        with self._changing() as rows:
            for view in views:
                try:
                    self.projection.views.apply(rows, view)
                except (*UNFIT, ProblemError) as error:
                    self._leave_out("", 0, error)

    def expire(self, before: datetime, now: datetime) -> int:
        """Remove rows of what ended before a moment; return how many, not all at once."""
        if self.projection.expire is None:
            return 0
        with self._changing() as rows:
            return self.projection.expire(rows, microseconds(before), microseconds(now))

    def apply(self, batch: Batch, *, gaps: bool = False, more: bool = False) -> int:
        """Apply commits and move the checkpoint behind them; return how many events counted.

        Where ``more`` follow at once, the rows are settled for many batches together.

        Raises:
            CorruptJournalError: a commit is missing before one of them.
        """
        checkpoint, count = self.checkpoint.copy(), 0
        whole = self.projection.whole
        with self._changing() as rows:
            of_each: dict[tuple[str, str], list[Fact]] = {}
            for filed, commit in batch:
                if commit is None:
                    checkpoint.pass_unreadable(filed.sequence, filed.subject)
                elif checkpoint.pass_over(
                    filed.sequence, filed.subject, commit, whole=whole, gaps=gaps
                ):
                    for fact in self._facts(filed.subject, commit):
                        count += 1
                        if self.projection.apply is not None:
                            self._try(fact, partial(self.projection.apply, rows, fact))
                        else:
                            of_each.setdefault((fact.tenant, fact.key), []).append(fact)
            if self.projection.together is not None:
                self.projection.together(rows, of_each.values(), self._leave_out_fact)
            unsettled = self._unsettled + count
            if unsettled and (not more or unsettled >= SETTLED_TOGETHER):
                self.projection.settle(rows)
                unsettled = 0
            _save(rows, checkpoint)
        self.checkpoint, self._unsettled = checkpoint, unsettled
        return count

    def settle(self) -> None:
        """Settle the rows, if that was put off."""
        if self._unsettled:
            with self._changing() as rows:
                self.projection.settle(rows)
            self._unsettled = 0

    def ask(
        self, question: Callable[[sqlite3.Connection], T], seconds: float
    ) -> tuple[T, Checkpoint]:
        """Answer a question, with how far the rows had come that it has seen.

        Raises:
            TimeoutError: it took longer than ``seconds``.
        """
        end = time.monotonic() + seconds
        with self._reading() as connection:
            connection.set_progress_handler(lambda: time.monotonic() > end, STEPS_BETWEEN_LOOKS)
            try:
                connection.execute("BEGIN")
                return question(connection), _loaded(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                    raise TimeoutError from None
                raise

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        """Hand out a connection that sees one state of the file; kept for the next if all is well.

        Lists are changed by single calls, which threads may make at once.
        """
        openings = self._openings
        try:
            reader = self._readers.pop()
        except IndexError:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            reader = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        kept = False
        try:
            yield reader
            reader.execute("COMMIT")
            kept = openings == self._openings and len(self._readers) < READERS
        finally:
            if kept:
                self._readers.append(reader)
            else:
                reader.close()

    def size(self) -> int:
        """Return the bytes on disk, the write-ahead log among them."""
        files = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def _open(self) -> None:
        self._connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        for statement in _statements(SETTINGS):
            self._connection.execute(statement)
        if self._is_ours(self._connection):
            self.checkpoint = _loaded(self._connection)
        else:
            self.reset("")

    def _is_ours(self, connection: sqlite3.Connection) -> bool:
        tables = "SELECT count(*) FROM sqlite_master WHERE name = 'projection'"
        if connection.execute(tables).fetchone() == (0,):
            return False
        columns = "SELECT format, name, version FROM projection"
        ours = (FORMAT, self.projection.name, self.projection.version)
        return connection.execute(columns).fetchone() == ours

    @contextmanager
    def _changing(self) -> Generator[sqlite3.Connection]:
        """Hand out the tables; what happens to them is kept whole or not at all."""
        if self._connection is None:
            raise sqlite3.ProgrammingError(f"{self.path} is not open")
        with self._connection as rows:
            rows.execute("BEGIN IMMEDIATE")
            yield rows

    def _try(self, fact: Fact, apply: Callable[[], None]) -> None:
        """Apply events; what cannot be applied is left out, not all others."""
        try:
            apply()
        except UNFIT as error:
            self._leave_out_fact(fact, error)

    def _leave_out_fact(self, fact: Fact, error: Exception) -> None:
        self._leave_out(fact.subject, fact.n, error)

    def _leave_out(self, subject: str, n: int, error: Exception) -> None:
        log.error(
            "projection.event_left_out",
            projection=self.projection.name,
            subject=subject,
            commit=n,
            error=type(error).__name__,
        )

    def _facts(self, subject: str, commit: Commit) -> Generator[Fact]:
        """Yield the events of a commit that count, and the states from which entries start."""
        place, n, at = -1, commit.n, commit.at
        for entry in commit.entries:
            based = entry.base is not NOTHING and self.projection.base_type is not None
            if based and (state := self._decoded(self._states, subject, n, entry.base)):
                yield Fact(entry.tenant, entry.key, subject, n, place, at, state, len(entry.base))
            for raw in entry.events:
                place += 1
                data = bytes(raw)
                if data.startswith(self._wanted):
                    event = self._decoded(self._events, subject, n, data)
                    if event is not None:
                        yield Fact(entry.tenant, entry.key, subject, n, place, at, event, len(data))

    def _decoded(
        self, decoder: "msgspec.json.Decoder[Any]", subject: str, n: int, data: bytes | msgspec.Raw
    ) -> Any:
        try:
            return decoder.decode(data)
        except (ValueError, RecursionError) as error:
            self._leave_out(subject, n, error)
            return None


def is_damaged(error: sqlite3.Error) -> bool:
    """Say whether an error means that the file is not what was written."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE


def _loaded(connection: sqlite3.Connection) -> Checkpoint:
    incarnation, position, at = connection.execute(
        "SELECT incarnation, position, at FROM projection"
    ).fetchone()
    commits = dict(connection.execute("SELECT subject, n FROM projection_shard").fetchall())
    return Checkpoint(incarnation, position, None if at is None else moment(at), commits)


def _save(rows: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    at = microseconds(checkpoint.at) if checkpoint.at else None
    rows.execute("UPDATE projection SET position = ?, at = ?", (checkpoint.position, at))
    rows.executemany(
        "INSERT INTO projection_shard VALUES (?, ?) "
        "ON CONFLICT (subject) DO UPDATE SET n = excluded.n",
        list(checkpoint.commits.items()),
    )


def _statements(script: str) -> Generator[str]:
    """Yield the statements of a script; those of a trigger have semicolons within."""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _openings(event_type: Any) -> list[bytes]:
    """Return how the events of a union begin."""
    kinds = getattr(event_type, "__args__", (event_type,))
    return [b'%b%b"' % (_OPENING, str(kind.__struct_config__.tag).encode()) for kind in kinds]
