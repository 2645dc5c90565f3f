"""What the clients know by themselves, kept outside the system that is tried."""

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio

from bus.codec import encode
from schemas.streams import TERMINAL_TYPES, ContentChunk, StreamEvent

SILENCE_SECONDS = 0.25
"""Scripts speak every 60 ms at most: an execution that is silent for longer waits for the fleet."""


def time_of_day() -> float:
    """Return the seconds since 1970: the clock that all processes share."""
    return datetime.now(UTC).timestamp()  # noqa: TID251  chaos happens in real time


@dataclass(slots=True)
class Account:
    """One execution as its clients saw it. ``texts`` are what each reader assembled in the end."""

    agent: str
    accepts: int = 0
    progress: float = 0.0
    silences: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    places: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])
    contents: set[int] = field(default_factory=set[int])
    ends: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    texts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    faults: list[str] = field(default_factory=list[str])

    def moved(self, now: float) -> None:
        """Note a sign of life, and the silence before it; a repeat after the end is none."""
        if self.ends:
            return
        if self.progress and now - self.progress > SILENCE_SECONDS:
            self.silences.append((self.progress, now))
        self.progress = now

    def forget(self) -> None:
        """Let go of what only its judge needed."""
        self.places.clear()
        self.texts.clear()
        self.faults.clear()


class Ledger:
    """Accepted executions and their ends, in a database of our own; their events in memory."""

    def __init__(self, file: Path) -> None:
        self.accounts: dict[str, Account] = {}
        self.faults: list[str] = []
        self.accept_seconds: list[float] = []
        self._database = sqlite3.connect(file, isolation_level=None)
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("CREATE TABLE accepted (id TEXT, agent TEXT, client TEXT, at REAL)")
        self._database.execute("CREATE TABLE ended (id TEXT, place TEXT, type TEXT, at REAL)")

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def accepted(self, execution: str, agent: str, client: str, asked: float) -> None:
        """Note that a client was told that its execution is accepted."""
        now = anyio.current_time()
        account = self.account(execution, agent)
        account.accepts += 1
        account.progress = account.progress or asked
        account.moved(now)
        self.accept_seconds.append(now - asked)
        self._database.execute(
            "INSERT INTO accepted VALUES (?, ?, ?, ?)",
            (execution, agent, client, now),
        )

    def account(self, execution: str, agent: str = "") -> Account:
        """Return the account of an execution."""
        account = self.accounts.setdefault(execution, Account(agent))
        account.agent = account.agent or agent
        return account

    def event(self, event: StreamEvent, *, live: bool) -> None:
        """Note an event that some reader got."""
        account = self.account(event.execution_id)
        place, content = (event.segment, event.sequence), hash(encode(event))
        known = account.places.setdefault(place, content)
        if known != content:
            account.faults.append(f"two contents at {event.cursor}")
        if live:
            account.moved(anyio.current_time())
        if isinstance(event, ContentChunk):
            account.contents.add(event.segment)
        if isinstance(event, TERMINAL_TYPES) and place not in account.ends:
            account.ends.add(place)
            row = (event.execution_id, event.cursor, type(event).__name__, anyio.current_time())
            self._database.execute("INSERT INTO ended VALUES (?, ?, ?, ?)", row)

    def accepted_ids(self) -> set[str]:
        """Return the executions that a client was told are accepted."""
        return self._column("SELECT DISTINCT id FROM accepted")

    def never_ended(self) -> set[str]:
        """Return the accepted executions whose end no client has seen."""
        return self._column("SELECT id FROM accepted EXCEPT SELECT id FROM ended")

    def _column(self, query: str) -> set[str]:
        return {value for (value,) in self._database.execute(query)}
