"""One suite for both buckets, then what only the one on NATS can meet."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest
from nats.js.api import KeyValueConfig

from bus.codec import encode
from bus.errors import FencedError, ProblemError, UnavailableError
from bus.kv import Bucket, BucketEntry, MemoryBucket, nats_bucket
from bus.streams.api import JetStream
from bus.testing import Server
from tests.buckets import Note, Seen, bucket_of, caught_up, connected, made, until
from tests.servers import local_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Server]:
    async with local_server(tmp_path) as process:
        yield process


@pytest.fixture(params=["memory", "nats"])
async def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bucket[Note]]:
    if request.param == "memory":
        yield MemoryBucket(Note)
        return
    async with (
        local_server(tmp_path) as process,
        connected(process) as transport,
        made(transport) as on_nats,
    ):
        yield on_nats


# Both buckets


async def test_a_key_without_a_value_is_none(bucket: Bucket[Note]):
    assert await bucket.get("acme.one") is None


async def test_a_value_is_read_with_the_revision_that_wrote_it(bucket: Bucket[Note]):
    revision = await bucket.put("acme.one", Note(text="größe \u0000 日本"), expected=0)

    assert await bucket.get("acme.one") == BucketEntry(
        "acme.one", revision, Note(text="größe \u0000 日本")
    )


async def test_revisions_grow_over_the_whole_bucket(bucket: Bucket[Note]):
    one = await bucket.put("acme.one", Note(text="a"), expected=0)
    two = await bucket.put("acme.two", Note(text="b"), expected=0)
    again = await bucket.put("acme.one", Note(text="c"), expected=one)

    assert one < two < again


async def test_a_write_that_expects_another_revision_stores_nothing(bucket: Bucket[Note]):
    revision = await bucket.put("acme.one", Note(text="a"), expected=0)

    for expected in (0, revision + 1):
        with pytest.raises(FencedError):
            await bucket.put("acme.one", Note(text="b"), expected=expected)
    with pytest.raises(FencedError):
        await bucket.put("acme.two", Note(text="b"), expected=revision)

    assert await bucket.get("acme.one") == BucketEntry("acme.one", revision, Note(text="a"))
    assert await bucket.get("acme.two") is None


async def test_of_many_writers_that_expect_the_same_one_wins(bucket: Bucket[Note]):
    won: list[int] = []

    async def write(number: int) -> None:
        try:
            await bucket.put("acme.one", Note(text="x", number=number), expected=0)
        except FencedError:
            return
        won.append(number)

    async with anyio.create_task_group() as writers:
        for number in range(20):
            writers.start_soon(write, number)

    entry = await bucket.get("acme.one")
    assert entry is not None
    assert won == [entry.value.number]


async def test_a_removed_key_has_no_value_and_can_be_written_anew(bucket: Bucket[Note]):
    first = await bucket.put("acme.one", Note(text="a"), expected=0)
    await bucket.remove("acme.one", expected=first)

    assert await bucket.get("acme.one") is None
    with pytest.raises(FencedError):
        await bucket.put("acme.one", Note(text="b"), expected=first)

    second = await bucket.put("acme.one", Note(text="b"), expected=0)

    assert second > first
    assert await bucket.get("acme.one") == BucketEntry("acme.one", second, Note(text="b"))


async def test_a_removal_is_fenced_too(bucket: Bucket[Note]):
    revision = await bucket.put("acme.one", Note(text="a"), expected=0)

    with pytest.raises(FencedError):
        await bucket.remove("acme.one", expected=revision + 1)

    assert await bucket.get("acme.one") is not None


async def test_a_watcher_is_told_of_what_stands_and_then_of_each_change(bucket: Bucket[Note]):
    seen = Seen()
    one = await bucket.put("acme.one", Note(text="a"), expected=0)
    await bucket.put("acme.two", Note(text="b"), expected=0)

    async with bucket.watch("acme.*", seen) as watch:
        await caught_up(watch)
        assert seen.log == ["clear", "acme.one=a", "acme.two=b"]

        one = await bucket.put("acme.one", Note(text="c"), expected=one)
        await bucket.remove("acme.one", expected=one)
        await bucket.put("acme.one", Note(text="d"), expected=0)
        await caught_up(watch)

    # A bucket keeps the newest only: what is replaced at once may never be told.
    told = ["acme.one=c", "-acme.one", "acme.one=d"]
    assert seen.log[3:] == [each for each in told if each in seen.log[3:]]
    assert seen.log[-1] == told[-1]
    assert seen.notes == {"acme.one": Note(text="d"), "acme.two": Note(text="b")}


async def test_a_watcher_is_told_only_of_keys_that_match(bucket: Bucket[Note]):
    seen = Seen()

    async with bucket.watch("*.*", seen) as watch:
        for key in ("acme.one", "acme.one.v1", "acme"):
            await bucket.put(key, Note(text="a"), expected=0)
        await caught_up(watch)

    assert seen.log == ["clear", "acme.one=a"]


async def test_a_watch_of_an_empty_bucket_is_fresh(bucket: Bucket[Note]):
    async with bucket.watch("*.*", Seen()) as watch:
        await caught_up(watch)

        assert watch.fresh


async def test_a_closed_watch_tells_nothing_more(bucket: Bucket[Note]):
    seen = Seen()
    async with bucket.watch("*.*", seen) as watch:
        await caught_up(watch)

    await bucket.put("acme.one", Note(text="a"), expected=0)
    async with bucket.watch("*.*", Seen()) as watch:
        await caught_up(watch)

    assert seen.log == ["clear"]


async def test_a_watcher_that_catches_up_knows_every_write_that_was_answered(bucket: Bucket[Note]):
    seen = Seen()

    async with bucket.watch("*.*", seen) as watch:
        for number in range(50):
            await bucket.put(f"acme.n{number}", Note(text="a"), expected=0)
            await caught_up(watch)
            assert f"acme.n{number}" in seen.notes


# Only on NATS


async def test_a_value_that_fits_no_message_is_refused(server: Server):
    async with connected(server) as transport, made(transport) as bucket:
        with pytest.raises(ProblemError) as refused:
            await bucket.put("acme.one", Note(text="x" * transport.client.max_payload), expected=0)

    assert refused.value.problem.code == "validation"


async def test_a_value_larger_than_the_bucket_takes_is_refused(server: Server):
    config = KeyValueConfig(bucket="notes", max_value_size=100)
    async with connected(server) as transport, made(transport, config) as bucket:
        with pytest.raises(ProblemError) as refused:
            await bucket.put("acme.one", Note(text="x" * 200), expected=0)

    assert refused.value.problem.code == "validation"


async def test_other_clients_of_the_bucket_read_and_write_the_same(server: Server):
    seen = Seen()
    async with connected(server) as transport, made(transport) as bucket:
        store = await transport.client.jetstream().key_value("notes")
        async with bucket.watch("*.*", seen) as watch:
            await caught_up(watch)
            await store.put("acme.one", msgspec.json.encode(Note(text="a")))
            await bucket.put("acme.two", Note(text="b"), expected=0)
            await store.purge("acme.one")
            await store.delete("acme.two")
            await caught_up(watch)

            assert await bucket.get("acme.one") is None
            assert await bucket.get("acme.two") is None

        revision = await bucket.put("acme.one", Note(text="c"), expected=0)
        entry = await store.get("acme.one")

    assert seen.log == ["clear", "acme.one=a", "acme.two=b", "-acme.one", "-acme.two"]
    assert (entry.value, entry.revision) == (msgspec.json.encode(Note(text="c")), revision)


async def test_a_value_that_has_expired_reads_as_none_although_its_marker_stands(
    server: Server,
):
    seen = Seen()
    config = KeyValueConfig(bucket="notes", limit_marker_ttl=60.0)
    async with (
        connected(server) as transport,
        made(transport, config) as bucket,
        bucket.watch("*.*", seen) as watch,
    ):
        store = await transport.client.jetstream().key_value("notes")
        await store.create("acme.one", msgspec.json.encode(Note(text="a")), msg_ttl=1)
        await until(lambda: "-acme.one" in seen.log)
        await caught_up(watch)

        assert await bucket.get("acme.one") is None
        await bucket.put("acme.one", Note(text="b"), expected=0)


async def test_a_stored_value_that_cannot_be_read_is_an_internal_problem_and_stops_no_watch(
    server: Server,
):
    seen = Seen()
    async with (
        connected(server) as transport,
        made(transport) as bucket,
        bucket.watch("*.*", seen) as watch,
    ):
        store = await transport.client.jetstream().key_value("notes")
        await store.put("acme.bad", b"{broken")
        await bucket.put("acme.good", Note(text="a"), expected=0)
        await caught_up(watch)

        with pytest.raises(ProblemError) as failed:
            await bucket.get("acme.bad")

    assert failed.value.problem.code == "internal"
    assert seen.log == ["clear", "-acme.bad", "acme.good=a"]


async def test_without_the_bucket_nothing_is_answered(server: Server):
    async with connected(server) as transport:
        bucket = bucket_of(transport)

        with pytest.raises(UnavailableError):
            await bucket.get("acme.one")
        with pytest.raises(UnavailableError):
            await bucket.put("acme.one", Note(text="a"), expected=0)


async def test_without_a_server_reads_and_writes_are_unavailable(server: Server):
    async with connected(server) as transport, made(transport) as bucket:
        await server.kill()
        await until(lambda: not transport.connected)

        with pytest.raises(UnavailableError):
            await bucket.get("acme.one")
        with pytest.raises(UnavailableError):
            await bucket.put("acme.one", Note(text="a"), expected=0)


async def test_a_watch_is_stale_while_the_server_is_away_and_goes_on_when_it_is_back(
    server: Server,
):
    seen = Seen()
    async with (
        connected(server) as transport,
        made(transport) as bucket,
        bucket.watch("*.*", seen) as watch,
    ):
        one = await bucket.put("acme.one", Note(text="a"), expected=0)
        await caught_up(watch)

        await server.kill()
        await until(lambda: not watch.fresh)
        await server.start()
        async with connected(server) as other:
            await bucket_of(other).put("acme.one", Note(text="b"), expected=one)
        await caught_up(watch)

        assert watch.fresh

    assert seen.log == ["clear", "acme.one=a", "acme.one=b"]


async def test_a_watch_is_stale_until_it_has_caught_up_after_a_reconnection(
    server: Server,
):
    fresh: list[bool] = []
    async with connected(server) as transport, made(transport) as bucket:

        async def look() -> None:
            fresh.append(watch.fresh)

        async with bucket.watch("*.*", Seen()) as watch:
            await caught_up(watch)
            transport.on_reconnect(look)
            await server.kill()
            await server.start()
            await until(lambda: bool(fresh))
            await until(lambda: watch.fresh)

    assert fresh == [False]


async def test_a_watch_whose_consumer_is_gone_begins_anew_behind_what_it_saw(
    server: Server,
):
    seen = Seen()
    async with (
        connected(server) as transport,
        made(transport) as bucket,
        bucket.watch("*.*", seen) as watch,
    ):
        await bucket.put("acme.one", Note(text="a"), expected=0)
        await caught_up(watch)

        js = transport.client.jetstream()
        for consumer in await js.consumers_info("KV_notes"):
            await js.delete_consumer("KV_notes", consumer.name)
        await bucket.put("acme.two", Note(text="b"), expected=0)
        await until(lambda: "acme.two" in seen.notes)

    assert seen.log == ["clear", "acme.one=a", "acme.two=b"]


async def test_a_watch_of_a_bucket_that_was_made_anew_forgets_the_old_one(server: Server):
    seen = Seen()
    async with connected(server) as transport, made(transport) as bucket:
        await bucket.put("acme.old", Note(text="a"), expected=0)
        async with bucket.watch("*.*", seen) as watch:
            await caught_up(watch)

            await transport.client.jetstream().delete_key_value("notes")
            async with made(transport) as again:
                await again.put("acme.new", Note(text="b"), expected=0)
            await until(lambda: "acme.new" in seen.notes)

    assert seen.notes == {"acme.new": Note(text="b")}
    assert seen.log == ["clear", "acme.old=a", "clear", "acme.new=b"]


async def test_a_watch_begins_before_its_bucket_exists(server: Server):
    seen = Seen()
    async with connected(server) as transport, bucket_of(transport).watch("*.*", seen) as watch:
        assert not watch.fresh
        async with made(transport) as bucket:
            await bucket.put("acme.one", Note(text="a"), expected=0)
        await until(lambda: "acme.one" in seen.notes)


async def test_catching_up_gives_up_in_time(server: Server):
    async with (
        connected(server) as transport,
        made(transport) as bucket,
        bucket.watch("*.*", Seen()) as watch,
    ):
        await caught_up(watch)
        await server.kill()

        with pytest.raises(UnavailableError):
            await watch.catch_up(timeout=0.2)


async def test_thousands_of_keys_are_read_at_the_start(server: Server):
    seen = Seen()
    async with connected(server) as transport, made(transport) as bucket:
        text = msgspec.json.encode(Note(text="x" * 500))
        for number in range(5000):
            await transport.publish(f"$KV.notes.acme.n{number}", text)
        await transport.client.flush()

        async with bucket.watch("*.*", seen) as watch:
            await until(lambda: len(seen.notes) == 5000)
            await caught_up(watch)


async def test_a_closed_watch_leaves_no_consumer_behind(server: Server):
    async with connected(server) as transport, made(transport) as bucket:
        async with bucket.watch("*.*", Seen()) as watch:
            await caught_up(watch)
            assert len(await transport.client.jetstream().consumers_info("KV_notes")) == 1

        assert await transport.client.jetstream().consumers_info("KV_notes") == []


async def test_a_broken_connection_leaves_no_second_consumer_behind(server: Server):
    seen = Seen()
    async with (
        connected(server) as transport,
        connected(server) as other,
        made(transport) as bucket,
        bucket.watch("*.*", seen) as watch,
    ):
        await caught_up(watch)

        for number in range(3):
            await transport.client.force_reconnect()
            await until(lambda: not watch.fresh)
            await bucket_of(other).put(f"acme.n{number}", Note(text="a"), expected=0)
            await until(lambda: watch.fresh)

        consumers = await transport.client.jetstream().consumers_info("KV_notes")

    assert len(consumers) == 1
    assert seen.log == ["clear", "acme.n0=a", "acme.n1=a", "acme.n2=a"]


class Sizes:
    """What a watch of sizes tells."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}

    def changed(self, entry: BucketEntry[int]) -> None:
        self.held[entry.key] = entry.value

    def removed(self, key: str, revision: int) -> None:
        assert revision > 0
        self.held.pop(key, None)

    def cleared(self) -> None:
        self.held.clear()


async def test_a_watch_of_sizes_tells_how_large_what_stands_is_and_what_is_erased(
    bucket: Bucket[Note],
):
    notes = {"acme.one": Note(text="a"), "acme.one.v1": Note(text="b" * 500)}
    wanted = {key: len(encode(note)) for key, note in notes.items()}
    await bucket.put("acme.one", notes["acme.one"], expected=0)
    sizes = Sizes()
    async with bucket.watch_sizes(">", sizes):
        await bucket.put("acme.one.v1", notes["acme.one.v1"], expected=0)
        await until(lambda: sizes.held == wanted)

        await bucket.erase("acme.one.v1")

        await until(lambda: sizes.held.keys() == {"acme.one"})
    assert await bucket.get("acme.one.v1") is None
    await bucket.erase("acme.one.v1")
    await bucket.put("acme.one.v1", Note(text="again"), expected=0)


async def test_what_is_erased_leaves_nothing_in_the_store(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(nats_bucket, "MARK_SECONDS", 1)
    async with connected(server) as transport, made(transport) as bucket:
        for n in range(20):
            await bucket.put(f"acme.one.v{n}", Note(text="x"), expected=0)
            await bucket.erase(f"acme.one.v{n}")
        with anyio.fail_after(15):
            while (await JetStream(transport).stream_info("KV_notes"))["state"]["messages"]:
                await anyio.sleep(0.1)
