"""Rows that entities have of their own: each is made from the one before and from what happened.

The rows of a batch are read, changed and written together.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bus.projection.definition import UNFIT, Fact, LeaveOut, Rows
from bus.projection.table import Change, Row, Table


def _nothing(_: Rows, __: Sequence[Change]) -> None:
    """Keep no sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """``row`` makes the row of an entity, None where it has none, or none any more.

    ``sums`` is told of all changes.

    The key of an entity is that of its row. ``row`` is pure; it may raise what is ``UNFIT``.
    """

    table: Table
    row: Callable[[Row | None, Sequence[Fact]], Row | None]
    sums: Callable[[Rows, Sequence[Change]], None] = _nothing

    def apply(self, rows: Rows, batch: Iterable[Sequence[Fact]], leave_out: LeaveOut) -> None:
        """Change the rows of a batch; an entity whose row cannot be made keeps the one it has."""
        of_each = list(batch)
        known = self.table.known(rows, [(facts[0].tenant, facts[0].key) for facts in of_each])
        made: list[tuple[Fact, Change]] = []
        for facts in of_each:
            before = known.get((facts[0].tenant, facts[0].key))
            try:
                after = self.row(before, facts)
            except UNFIT as error:
                leave_out(facts[-1], error)
            else:
                if after != before:
                    made.append((facts[-1], Change(before, after)))
        try:
            self.write(rows, [change for _, change in made])
        except UNFIT:
            self._write_singly(rows, made, leave_out)

    def write(self, rows: Rows, changes: Sequence[Change]) -> None:
        """Make changes and keep the sums of them: all or none."""
        with _whole(rows):
            self.table.write(rows, changes)
            self.sums(rows, changes)

    def _write_singly(
        self, rows: Rows, made: Iterable[tuple[Fact, Change]], leave_out: LeaveOut
    ) -> None:
        """Leave out what the tables cannot hold, and nothing else."""
        for fact, change in made:
            try:
                self.write(rows, [change])
            except UNFIT as error:
                leave_out(fact, error)


@contextmanager
def _whole(rows: Rows) -> Generator[None]:
    """Undo all changes of a block that does not come to its end."""
    rows.execute("SAVEPOINT fold")
    done = False
    try:
        yield
        done = True
    finally:
        if not done:
            rows.execute("ROLLBACK TO fold")
        rows.execute("RELEASE fold")
