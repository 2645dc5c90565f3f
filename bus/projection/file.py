"""The SQLite file of a projection: rows and checkpoint in one transaction. Blocking.

The file is in WAL mode and not synced at every commit. A crash of the machine may take the newest
transactions, and with them the checkpoint, so that they are applied again.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from bus.ports import Filed
from bus.projection.checkpoint import Checkpoint
from bus.projection.definition import Fact, Projection
from schemas.journal import Commit

log = structlog.get_logger()

T = TypeVar("T")
Batch = Sequence[tuple[Filed, Commit | None]]
"""Commits as they were read; None where nothing of one can be."""

FORMAT = 1
"""Of the tables below."""

TABLES = """
CREATE TABLE projection (
    format INTEGER NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
    life TEXT NOT NULL, position INTEGER NOT NULL, at INTEGER
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

STEPS_BETWEEN_LOOKS = 20_000
"""Of SQLite's machine, some milliseconds; then a query looks whether its time is over."""

_UNFIT = (
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
)
"""What an event raises that a table cannot hold, such as an integer of more than 64 bits."""

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
        self._unsettled = 1
        """Events since the rows were settled; of a file that is opened nobody knows."""
        self._events = msgspec.json.Decoder(projection.event_type)
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
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def discard(self) -> None:
        """Remove a file that is damaged, and make it anew."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._open()

    def reset(self, life: str) -> None:
        """Forget everything: what follows is applied from the beginning of the journal."""
        with self._changing() as rows:
            found = (
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
            for (table,) in rows.execute(found).fetchall():
                rows.execute(f'DROP TABLE "{table}"')
            for statement in _statements(TABLES + self.projection.tables):
                rows.execute(statement)
            known = (FORMAT, self.projection.name, self.projection.version, life, 0)
            rows.execute("INSERT INTO projection VALUES (?, ?, ?, ?, ?, NULL)", known)
        self.checkpoint = Checkpoint(life)

    def apply(self, batch: Batch, *, more: bool = False) -> int:
        """Apply commits and move the checkpoint behind them; return how many events counted.

        Where ``more`` follow at once, the rows are settled for many batches together.

        Raises:
            CorruptJournalError: a commit is missing before one of them.
        """
        checkpoint, count = self.checkpoint.copy(), 0
        whole = self.projection.whole
        with self._changing() as rows:
            for filed, commit in batch:
                if commit is None:
                    checkpoint.pass_unreadable(filed.sequence, filed.subject)
                elif checkpoint.pass_over(filed.sequence, filed.subject, commit, whole=whole):
                    count += self._apply(rows, filed.subject, commit)
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
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
        connection.isolation_level = None
        connection.set_progress_handler(lambda: time.monotonic() > end, STEPS_BETWEEN_LOOKS)
        with contextlib.closing(connection):
            try:
                connection.execute("BEGIN")
                return question(connection), _loaded(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                    raise TimeoutError from None
                raise

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

    def _apply(self, rows: sqlite3.Connection, subject: str, commit: Commit) -> int:
        """Apply the events of a commit; one that cannot be applied is left out, not all others."""
        count = 0
        for fact in self._facts(subject, commit):
            try:
                self.projection.apply(rows, fact)
            except _UNFIT as error:
                self._leave_out(subject, commit.n, error)
            count += 1
        return count

    def _leave_out(self, subject: str, n: int, error: Exception) -> None:
        log.error(
            "projection.event_left_out",
            projection=self.projection.name,
            subject=subject,
            commit=n,
            error=type(error).__name__,
        )

    def _facts(self, subject: str, commit: Commit) -> Generator[Fact]:
        """Yield the events of a commit that count."""
        place, n, at = -1, commit.n, commit.at
        for entry in commit.entries:
            for raw in entry.events:
                place += 1
                event = bytes(raw)
                if event.startswith(self._wanted):
                    try:
                        fact = self._events.decode(event)
                    except (ValueError, RecursionError) as error:
                        self._leave_out(subject, n, error)
                        continue
                    yield Fact(entry.tenant, entry.key, subject, n, place, at, fact)


def is_damaged(error: sqlite3.Error) -> bool:
    """Say whether an error means that the file is not what was written."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE


def _loaded(connection: sqlite3.Connection) -> Checkpoint:
    life, position, at = connection.execute("SELECT life, position, at FROM projection").fetchone()
    commits = dict(connection.execute("SELECT subject, n FROM projection_shard").fetchall())
    return Checkpoint(life, position, None if at is None else moment(at), commits)


def _save(rows: sqlite3.Connection, checkpoint: Checkpoint) -> None:
    at = microseconds(checkpoint.at) if checkpoint.at else None
    rows.execute("UPDATE projection SET position = ?, at = ?", (checkpoint.position, at))
    rows.executemany(
        "INSERT INTO projection_shard VALUES (?, ?) "
        "ON CONFLICT (subject) DO UPDATE SET n = excluded.n",
        list(checkpoint.commits.items()),
    )


def _statements(script: str) -> list[str]:
    return [statement for part in script.split(";") if (statement := part.strip())]


def _openings(event_type: Any) -> list[bytes]:
    """Return how the events of a union begin."""
    kinds = getattr(event_type, "__args__", (event_type,))
    return [b'%b%b"' % (_OPENING, str(kind.__struct_config__.tag).encode()) for kind in kinds]
