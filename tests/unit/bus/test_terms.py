"""Terms in their bucket: none is written over newer ones, and not to know is no permission."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import decode, encode
from bus.errors import FencedError, ProblemError, UnavailableError
from bus.kv import BucketEntry, Followed, MemoryBucket
from bus.kv.terms import KnownTerms, TermsHearer, TermsStore, keep, key_of, tenant_of
from bus.memory import memory_bus
from bus.requests.rpc import command
from schemas.ids import PLATFORM
from schemas.journal import CommandEnvelope
from schemas.ledger import ACCOUNT_KEY
from schemas.terms import KeepTerms, Restriction, Terms, TermsKept

HARD = Restriction(money=True)


def terms(revision: int, tenant: str = "acme", *restrictions: Restriction) -> Terms:
    found = [*restrictions] or [Restriction(scope="user", name=f"u{revision}")]
    return Terms(tenant=tenant, revision=revision, restrictions=found)


class Rival(MemoryBucket[Terms]):
    """A bucket in which another owner writes between the look and the write of the first."""

    def __init__(self, *rivals: int) -> None:
        super().__init__(Terms)
        self._rivals = list(rivals)
        self.log: list[str] = []

    async def get(self, key: str) -> BucketEntry[Terms] | None:
        self.log.append("get")
        found = await super().get(key)
        if self._rivals:
            rival = terms(self._rivals.pop(0))
            await super().put(key, rival, expected=found.revision if found else 0)
        return found

    async def put(self, key: str, value: Terms, *, expected: int) -> int:
        self.log.append("put")
        return await super().put(key, value, expected=expected)


class Away(MemoryBucket[Terms]):
    """A bucket that does not answer."""

    async def get(self, key: str) -> BucketEntry[Terms] | None:
        raise UnavailableError(key, "away")


# Writing


async def test_a_former_owner_does_not_write_old_terms_over_new_ones():
    bucket = MemoryBucket(Terms)
    await keep(bucket, terms(5))

    assert await keep(bucket, terms(4)) == 5

    entry = await bucket.get("acme")
    assert entry is not None
    assert entry.value == terms(5)


async def test_nor_where_it_has_looked_before_the_new_owner_wrote():
    bucket = Rival(5)

    assert await keep(bucket, terms(4)) == 5

    entry = await MemoryBucket.get(bucket, "acme")
    assert entry is not None
    assert entry.value == terms(5)


async def test_newer_terms_take_the_place_of_older_ones_that_came_between():
    bucket = Rival(2, 3)

    assert await keep(bucket, terms(4)) == 4

    entry = await MemoryBucket.get(bucket, "acme")
    assert entry is not None
    assert entry.value == terms(4)


async def test_what_stands_already_costs_one_look():
    bucket = Rival()
    for _ in range(3):
        assert await keep(bucket, terms(4)) == 4

    assert bucket.log == ["get", "put", "get", "get"]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
async def test_whoever_writes_in_whatever_order_the_newest_stands(order: Sequence[int]):
    bucket = MemoryBucket(Terms)

    answers = [await keep(bucket, terms(revision)) for revision in order]

    entry = await bucket.get("acme")
    assert entry is not None
    assert entry.value == terms(max(order))
    assert answers == [max(order[: place + 1]) for place in range(len(order))]


async def test_one_who_is_always_slower_gives_up():
    with pytest.raises(UnavailableError):
        await keep(Rival(*range(1, 20)), terms(99))


def envelope(revision: int) -> CommandEnvelope:
    wanted = KeepTerms(terms=terms(revision))
    return command(f"terms.acme.{revision}", "acme", ACCOUNT_KEY, wanted)


async def test_an_account_is_answered_with_what_stands():
    store = TermsStore(MemoryBucket(Terms))

    answers = await store.ask_once([envelope(2), envelope(1)])

    assert answers is not None
    assert [decode(TermsKept, each).revision for each in answers] == [2, 2]


async def test_an_account_is_not_answered_before_its_terms_are_stored():
    assert await TermsStore(Away(Terms)).ask_once([envelope(1)]) is None


def test_no_tenant_has_the_key_of_the_platform():
    assert key_of(PLATFORM) == "=platform"
    assert [tenant_of(key_of(name)) for name in (PLATFORM, "acme")] == [PLATFORM, "acme"]


# Knowing


class Behind:
    """A watch that is not at its end. ``comes`` says whether it ever is."""

    def __init__(self, *, comes: bool = False) -> None:
        self.fresh = False
        self._comes = comes
        self.waited = 0

    async def catch_up(self, *, timeout: float) -> None:
        self.waited += 1
        if not self._comes:
            raise UnavailableError("terms", f"not within {timeout} s")
        self.fresh = True


async def test_who_has_not_read_to_the_end_does_not_know_and_says_so():
    watch = Behind()
    followed = Followed(watch, "the terms are")

    assert followed.not_ready_reason() == "the terms are not known yet"
    with pytest.raises(ProblemError) as refused:
        await followed.known()

    problem = refused.value.problem
    assert (problem.code, problem.retryable) == ("unavailable", True)


async def test_who_comes_to_the_end_knows_and_need_not_wait_again():
    watch = Behind(comes=True)
    followed = Followed(watch, "the terms are")

    await followed.known()
    await followed.known()

    assert (followed.not_ready_reason(), watch.waited) == (None, 1)


async def test_a_process_is_ready_when_it_hears_and_knows():
    watch = Behind()
    async with memory_bus() as world, world.process() as bus:
        hearer = TermsHearer(KnownTerms("one"), Followed(watch, "they are"), bus.transport)
        assert hearer.not_ready_reason() == "new terms are not heard yet"
        hearer._listens = True
        assert hearer.not_ready_reason() == "they are not known yet"
        watch.fresh = True
        assert hearer.not_ready_reason() is None


async def test_what_is_stored_is_known_once_the_bucket_was_watched():
    bucket, known = MemoryBucket(Terms), KnownTerms("one")
    await keep(bucket, terms(1, "acme", HARD))
    async with bucket.watch("*", known):
        assert known.of("acme").restrictions == [HARD]
        assert known.of("bolt").restrictions == []
        await keep(bucket, terms(2, "acme", Restriction(scope="user", name="ann")))
        await keep(bucket, terms(1, PLATFORM, Restriction(scope="project", name="acme")))

    platform = Restriction(money=True, platform=True)
    assert known.of("acme").restrictions == [Restriction(scope="user", name="ann"), platform]
    assert known.of("bolt").restrictions == []
    known.cleared()
    assert len(known) == 0


def test_of_letters_and_the_bucket_the_newest_counts():
    known = KnownTerms("one")

    assert known.keep(terms(3)).revision == 3
    known.changed(BucketEntry("acme", 1, terms(2)))

    assert known.keep(terms(1)).revision == 3
    assert known.of("acme") == terms(3)


@pytest.mark.parametrize("before", ["known", "never seen"])
def test_where_terms_were_removed_or_cannot_be_read_everybody_asks(
    before: Literal["known", "never seen"],
):
    known = KnownTerms("one")
    if before == "known":
        known.keep(terms(3))

    known.removed("acme", 17)

    assert known.of("acme").restrictions == [HARD]
    known.changed(BucketEntry("acme", 18, terms(3)))
    assert known.of("acme") == terms(3)


async def test_unreadable_terms_are_not_written_over():
    bucket = MemoryBucket(msgspec.Raw)
    await bucket.put("acme", msgspec.Raw(b'{"type":"from_the_future"}'), expected=0)
    store = MemoryBucket(Terms)
    store._cells = bucket._cells

    with pytest.raises((ProblemError, FencedError)):
        await keep(store, terms(1))

    assert await TermsStore(store).ask_once([envelope(1)]) is None
    assert encode((await bucket.get("acme")).value)  # pyright: ignore[reportOptionalMemberAccess]
