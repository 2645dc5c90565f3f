"""The account of a tenant, as the shard runtime sees it."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import msgspec

from actors.pricing.core import blocks, escrow, ledger, terms
from actors.pricing.core.decisions import LedgerRules, decide
from actors.pricing.core.ledger import Ledger, evolve
from actors.pricing.core.outward import announce
from schemas.decision import UNCHANGED, Ask, Changes, by_id, differences
from schemas.entity import Entity
from schemas.escrow import BlockAnswered, RecallAnswered, ReturnAnswered
from schemas.ledger import (
    ACCOUNT_ENTITY,
    ACCOUNT_KEY,
    AccountCommand,
    AccountEvent,
    Lapse,
    TermsAnswered,
)
from schemas.terms import KeepTerms, TermsKept

_kept = msgspec.json.Decoder(TermsKept)


def account(rules: LedgerRules) -> Entity[Ledger, AccountCommand, AccountEvent]:
    """Return the account: it never ends, knows repeats by its state, and its history is kept.

    What others need to know of it lies in the bucket of terms, so it has no record.
    """
    return Entity(
        name=ACCOUNT_ENTITY,
        version=2,
        state_type=Ledger,
        command_type=AccountCommand,
        event_type=AccountEvent,
        decide=partial(decide, rules),
        evolve=evolve,
        effects=_asks,
        changes=_changes,
        answered=_answered,
        announce=announce,
        due=_due,
        tick=Lapse(),
        initial=lambda tenant, _: Ledger(tenant=tenant),
        keeps_replies=False,
        archives=True,
        only_key=ACCOUNT_KEY,
        split=ledger.split,
        joined=ledger.joined,
    )


def _asks(state: Ledger) -> tuple[Ask, ...]:
    lent = escrow.asks(state.escrow, state.tenant)
    # Looked at in every turn of the account, and mostly nothing is outstanding.
    told = state.terms.revision == state.terms.stored
    return lent if told else (*terms.asks(state.terms, state.tenant), *lent)


def _changes(before: Ledger | None, events: Sequence[AccountEvent], after: Ledger) -> Changes:
    """Return what events open and close: most concern neither terms nor lent money."""
    del events
    if before is None:
        return Changes(_asks(after))
    if before.terms is after.terms and before.escrow is after.escrow:
        return UNCHANGED
    return differences(by_id(_asks(before)), by_id(_asks(after)))


def _answered(
    ask: Ask, answer: bytes
) -> TermsAnswered | BlockAnswered | ReturnAnswered | RecallAnswered:
    if isinstance(ask.command, KeepTerms):
        stored = _kept.decode(answer).revision
        return TermsAnswered(asked=ask.command.terms.revision, revision=stored)
    return escrow.answered(ask, answer)


def _due(state: Ledger) -> datetime | None:
    due_times = (ledger.due(state), blocks.due(state))
    return min((each for each in due_times if each is not None), default=None)
