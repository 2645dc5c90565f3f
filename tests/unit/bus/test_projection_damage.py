"""An event that cannot be read or held leaves out itself, not all that comes after it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bus.codec import encode
from bus.errors import CorruptJournalError
from bus.ports import Filed
from bus.projection.file import ProjectionFile
from schemas.journal import Commit, Entry
from tests import hostile
from tests.projections import SUMS, Added

AT = datetime(2026, 1, 2, tzinfo=UTC)
SUBJECT = "_cb.journal.account.0"


def commit(n: int, *events: bytes) -> tuple[Filed, Commit | None]:
    raws = [msgspec.Raw(event) for event in events]
    entry = Entry(tenant="acme", key="k", command="c", events=raws)
    found = Commit(n=n, epoch=1, turn="t", at=AT, entries=[entry])
    return Filed(n, SUBJECT, encode(found)), found


def added(amount: int) -> bytes:
    return encode(Added(amount=amount))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[ProjectionFile]:
    file = ProjectionFile(tmp_path / "sums.sqlite3", SUMS)
    file.open()
    yield file
    file.close()


def total(file: ProjectionFile) -> int:
    found, _ = file.ask(lambda rows: rows.execute("SELECT sum(amount) FROM line").fetchone(), 5.0)
    return int(found[0] or 0)


@pytest.mark.parametrize(
    "event",
    [
        added(2**70),
        b'{"type":"added","amount":"x"}',
        b'{"type":"added","amount":%b}' % hostile.nested(3000),
        b'{"type":"added"',
        b"[]",
        b'{"amount":1}',
    ],
)
def test_what_no_table_can_hold_is_left_out(file: ProjectionFile, event: bytes):
    file.apply([commit(1, added(1)), commit(2, event, added(2)), commit(3, added(4))])

    assert total(file) == 7
    assert file.checkpoint.position == 3


def test_a_commit_of_which_nothing_can_be_read_is_passed_over(file: ProjectionFile):
    garbage = (Filed(2, SUBJECT, b"garbage"), None)
    file.apply([commit(1, added(1)), garbage, commit(3, added(4))])

    assert (total(file), file.checkpoint.position) == (5, 3)


def test_a_gap_is_refused_still(file: ProjectionFile):
    with pytest.raises(CorruptJournalError):
        file.apply([commit(1, added(1)), commit(3, added(4))])


def test_texts_of_any_characters_are_held(file: ProjectionFile):
    filed, found = commit(1, added(1))
    assert found is not None
    strange = msgspec.structs.replace(found.entries[0], tenant="a\0\x1b\u202e\u2028😀")
    file.apply([(filed, msgspec.structs.replace(found, entries=[strange]))])

    tenants, _ = file.ask(lambda rows: rows.execute("SELECT tenant FROM line").fetchall(), 5.0)
    assert tenants == [(strange.tenant,)]
