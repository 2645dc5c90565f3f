"""The projection of the ledger: a row for each call of a model that was charged.

What the end of a lease has booked has a row of its own, until somebody says what was spent.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec

from actors.pricing.core import rollups
from bus.projection import Fact, Projection, Rows
from bus.projection.file import microseconds
from schemas.ids import PLATFORM
from schemas.ledger import (
    ACCOUNT_ENTITY,
    Charge,
    Charged,
    Lapsed,
    Party,
    Reference,
    Voided,
    can_be_booked,
)
from schemas.pricing.prices import ORDINARY
from schemas.usage import COUNTS, Usage

STANDARD = "standard"

COLUMNS = (
    "tenant",
    "at",
    "execution",
    "step",
    "attempt",
    "user",
    "project",
    "agent",
    "session",
    "held",
    "completed",
    "cost",
    "disputed",
    "quality",
    "provider",
    "model",
    "model_served",
    "tier",
    "variant",
    "batch",
    "region",
    "key",
    "unpriced",
    "reported",
    "rate_row",
    *COUNTS,
)
"""``tier`` is what reports show, ``variant`` what the provider said."""

TABLES = f"""
CREATE TABLE call ({", ".join(COLUMNS)});
CREATE INDEX call_by_time ON call (tenant, at);
CREATE TABLE lapse (
    tenant, execution, step, attempt, call INTEGER NOT NULL,
    PRIMARY KEY (tenant, execution, step, attempt)
) WITHOUT ROWID;
{rollups.TABLES}"""

_INSERT = f"INSERT INTO call VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_LAPSE = "INSERT INTO lapse VALUES (?, ?, ?, ?, last_insert_rowid())"
_WHICH = "WHERE tenant = ? AND execution = ? AND step = ? AND attempt = ?"
_FIND = f"SELECT call FROM lapse {_WHICH}"  # noqa: S608
_FORGET_CALL = "DELETE FROM call WHERE rowid = ?"
_FORGET = f"DELETE FROM lapse {_WHICH}"  # noqa: S608

_UNKNOWN = (None,) * (len(COLUMNS) - COLUMNS.index("provider") - len(COUNTS)) + (0,) * len(COUNTS)

_which = attrgetter("execution_id", "step", "attempt")
_whose = attrgetter("user", "project", "agent_id", "session")
_counts = attrgetter(*COUNTS)
_row = attrgetter("secret", "unpriced", "reported_pico", "row")


def apply(rows: Rows, fact: Fact) -> None:
    """Add a row for each charge, and for what the end of a lease has booked.

    What the platform was told of its blocks is in the ledgers of the tenants who spent it.
    """
    if fact.tenant == PLATFORM:
        return
    match fact.event:
        case Charged() as event:
            if event.booked_pico:
                _forget(rows, fact.tenant, event.reference)
            _charged(rows, fact.tenant, event)
        case Lapsed(booked_pico=cost) as event if cost:
            head = _head(fact.tenant, microseconds(event.at), event.reference, event.party)
            rows.execute(_INSERT, (*head, event.held_pico, 0, cost, 0, "estimated", *_UNKNOWN))
            rows.execute(_LAPSE, (fact.tenant, *_which(event.reference)))
        case Voided(booked_pico=cost) as event if cost:
            _forget(rows, fact.tenant, event.reference)
        case _:
            return


def _charged(rows: Rows, tenant: str, event: Charged) -> None:
    """What is said once of an attempt stands in its first row."""
    head = _head(tenant, microseconds(event.at), event.reference, event.party)
    held, completed = event.held_pico, int(event.completed)
    for charge in map(_tabled, event.charges):
        rows.execute(_INSERT, (*head, held, completed, *_tail(charge)))
        held = completed = 0
    if completed and not event.charges:
        rows.execute(_INSERT, (*head, held, completed, 0, 0, "exact", *_UNKNOWN))


def _tabled(charge: Charge) -> Charge:
    """Return what there is room for. Older ledgers took more."""
    if can_be_booked(charge):
        return charge
    return msgspec.structs.replace(
        charge,
        usage=Usage(quality="estimated"),
        cost_pico=None,
        reported_pico=None,
        unpriced="it is more than one amount can be",
    )


def _head(tenant: str, at: int, reference: Reference, party: Party) -> tuple[object, ...]:
    return (tenant, at, *_which(reference), *_whose(party))


def _tail(charge: Charge) -> tuple[object, ...]:
    usage = charge.usage
    return (
        charge.cost_pico,
        charge.disputed_pico,
        usage.quality,
        charge.provider,
        charge.model,
        charge.model_served or charge.model,
        _tier(charge),
        charge.tier,
        int(charge.batch),
        charge.region,
        *_row(charge),
        *_counts(usage),
    )


def _tier(charge: Charge) -> str:
    """Return the tier by one name, whatever providers call the ordinary one."""
    tier = "" if (charge.tier or "") in ORDINARY else charge.tier or ""
    if charge.batch and tier not in ("", "batch"):
        return f"batch+{tier}"
    return "batch" if charge.batch else tier or STANDARD


def _forget(rows: Rows, tenant: str, reference: Reference) -> None:
    """Take back what the end of a lease has booked, out of the rollups as well."""
    which = (tenant, *_which(reference))
    found = rows.execute(_FIND, which).fetchone()
    if found is None:
        return
    settle(rows)
    execution = (tenant, reference.execution_id)
    _recounted(rows, execution, is_put_in=False)
    _all(rows, rollups.SUBTRACT, found)
    rows.execute(_FORGET_CALL, found)
    rows.execute(_FORGET, which)
    _recounted(rows, execution, is_put_in=True)
    _merge(rows)


# Rollups


def settle(rows: Rows) -> None:
    """Add to the rollups the calls that are not in them yet."""
    _all(rows, rollups.TEMPORARY, ())
    through = rows.execute(rollups.THROUGH).fetchone()
    if not rows.execute(rollups.TOUCH_NEW, through).rowcount:
        return
    rows.execute(rollups.TAKE_OUT, through)
    _put_in(rows, *through)
    _all(rows, rollups.COUNT_OLD, through)
    _all(rows, rollups.ADD_NEW, through)
    rows.execute(rollups.FORGET_TOUCHED)
    _merge(rows)


def _recounted(rows: Rows, execution: tuple[str, str], *, is_put_in: bool) -> None:
    """Count an execution no more, or anew, whatever calls it has."""
    rows.execute(rollups.TOUCH_ONE, execution)
    if is_put_in:
        _put_in(rows, 0)
    else:
        rows.execute(rollups.TAKE_OUT, (rollups.LAST,))
        rows.execute(rollups.NARROW, execution)
    _all(rows, rollups.COUNT_OLD, (rollups.LAST,))
    rows.execute(rollups.FORGET_TOUCHED)


def _put_in(rows: Rows, through: int) -> None:
    """Count the executions that are touched by their calls behind ``through``."""
    rows.execute(rollups.MARK, (through, through))
    rows.execute(rollups.PUT_IN)
    rows.execute(rollups.WIDEN_OLDEST)
    rows.execute(rollups.WIDEN_NEW, (through,))


def _all(rows: Rows, statements: Iterable[str], values: Sequence[object]) -> None:
    for statement in statements:
        rows.execute(statement, values)


def _merge(rows: Rows) -> None:
    _all(rows, (*rollups.MERGE, rollups.MOVE), ())


COSTS = Projection(
    name="costs",
    entity=ACCOUNT_ENTITY,
    version=4,
    tables=TABLES,
    event_type=Charged | Lapsed | Voided,
    apply=apply,
    settle=settle,
)
