"""On a real nats-server a tenant's user can do what the contract offers, and nothing else."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from click.testing import CliRunner
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as Refused
from nats.errors import NoRespondersError
from nats.js.api import KeyValueConfig, StreamConfig

from actors.cli.commands import main
from bus.config import Timing
from bus.connection import NatsAddress
from bus.jetstream import open_bus
from bus.requests.submissions import Submissions
from bus.security.permissions import FLEET_USER, inbox_prefix, password_variable, render, user_name
from bus.server import EmbeddedServer, settings
from bus.subjects import fill, matches
from schemas import catalog
from schemas.identity import TENANT_ACTIONS

pytestmark = pytest.mark.single_server

TENANTS = {"acme": ["alice", "bob"], "globex": ["carol"]}
PASSWORD = "made-up-for-this-test"
JOURNAL = "_cb.journal.execution.0"

ROWS = [row for row in catalog.requests() if row.action in TENANT_ACTIONS]
REQUESTS = [fill(row.subject, tenant="acme") for row in ROWS]
SUBMITS = [fill(row.submit, tenant="acme") for row in ROWS if row.submit]

DENIED_TO_PUBLISH = [
    "_cb.ask.acme.agents.execute",
    "_cb.ask.globex.agents.execute",
    "_cb.cmd.execution.0",
    "_cb.sys.offer.generate-1",
    "_cb.sys.alive",
    "_cb.dead.acme.work.generate",
    JOURNAL,
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.DELETE.STREAMS",
    "$JS.API.STREAM.MSG.GET.STREAMS",
    "$JS.API.DIRECT.GET.STREAMS",
    "$JS.API.DIRECT.GET.STREAMS.cb.acme.stream.e1",
    "$JS.API.CONSUMER.CREATE.STREAMS",
    "$JS.API.CONSUMER.MSG.NEXT.STREAMS.c",
    "$JS.ACK.STREAMS.c.1.1.1.0.0",
    "$KV.AGENTS.acme.reviewer",
    "$O.BLOBS.C.x",
    "$SRV.PING",
    "$SRV.INFO.agents",
    "$SYS.REQ.SERVER.PING",
    "_R_.abc.def",
    "_INBOX.acme-bob.x",
    "_INBOX.globex-carol.x",
    "cb.globex.agents.execute",
    "cb.globex.submit.agents.execute",
    "cb.globex.stream.e1",
    "cb.acme.stream.e1",
    "cb.acme.events.execution.completed.e1",
    "cb.acme.record.e1",
    "cb.acme.submit.agents.get",
    "cb.acme.agents.unheard_of",
    "cb.acme.tenants.apply",
    "cb.acme.submit.tenants.suspend",
    "$SYS.REQ.USER.AUTH",
]

DENIED_TO_SUBSCRIBE = [
    ">",
    "*.>",
    "cb.>",
    "cb.*.stream.*",
    "cb.*.events.>",
    "cb.acme.>",
    "cb.acme.*.*",
    "cb.acme.agents.execute",
    "cb.acme.submit.>",
    "cb.acme.record.*",
    "cb.globex.stream.*",
    "cb.globex.stream.e1",
    "cb.globex.events.>",
    "_cb.>",
    "_cb.ask.acme.agents.execute",
    JOURNAL,
    "_INBOX.>",
    "_INBOX.*.*",
    "_INBOX.acme-bob.>",
    "_INBOX.globex-carol.>",
    "_R_.>",
    "$JS.>",
    "$JS.API.>",
    "$JS.EVENT.>",
    "$KV.>",
    "$O.>",
    "$SRV.>",
    "$SYS.>",
]

FORGED_REPLIES = [
    JOURNAL,
    "_cb.cmd.execution.0",
    "_cb.sys.offer.generate-1",
    "_cb.sys.gone",
    "$JS.API.STREAM.DELETE.STREAMS",
    "$JS.API.STREAM.PURGE.STREAMS",
    "$KV.AGENTS.acme.reviewer",
    "_INBOX.globex-carol.x",
    "cb.globex.agents.execute",
    "cb.globex.stream.e1",
]


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.005)


class Someone:
    """A connected user: what it was told went wrong, and what it was sent."""

    def __init__(self, client: Client, errors: list[str]) -> None:
        self.client = client
        self.errors = errors
        self.inbox: list[Msg] = []

    async def listen(self, subject: str) -> None:
        async def take(message: Msg) -> None:
            self.inbox.append(message)

        await self.client.subscribe(subject, cb=take)
        await self.client.flush()

    async def heard(self, count: int) -> list[tuple[str, bytes]]:
        await until(lambda: len(self.inbox) >= count)
        return [(message.subject, message.data) for message in self.inbox]

    async def refusal(self) -> str:
        """Return what the server said no to, in its words and in lower case."""
        await until(lambda: bool(self.errors))
        return self.errors.pop()


class Server:
    """A nats-server with the rendered accounts, and everybody on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clients: list[Client] = []

    async def connect(self, user: str, password: str = PASSWORD, **options: Any) -> Someone:
        errors: list[str] = []

        async def note(error: Exception) -> None:
            errors.append(str(error).lower())

        someone = Someone(Client(), errors)
        self.clients.append(someone.client)
        address = self.url.replace("//", f"//{user}:{password}@" if user else "//")
        await someone.client.connect(address, error_cb=note, allow_reconnect=False, **options)
        return someone

    async def tenant(self, tenant: str, user: str) -> Someone:
        prefix = inbox_prefix(tenant, user)
        return await self.connect(user_name(tenant, user), inbox_prefix=prefix)

    async def close(self) -> None:
        for client in self.clients:
            await client.close()


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    plain: Callable[..., str] = settings.render
    monkeypatch.setattr(settings, "render", lambda **where: plain(**where) + render(TENANTS))
    names = [user_name(tenant, user) for tenant, users in TENANTS.items() for user in users]
    for name in (FLEET_USER, *names):
        monkeypatch.setenv(password_variable(name), PASSWORD)
    with anyio.fail_after(30):
        async with EmbeddedServer(tmp_path) as embedded:
            everybody = Server(embedded.url)
            yield everybody
            await everybody.close()


@pytest.fixture
async def fleet(server: Server) -> Someone:
    """The fleet, with the streams that matter here, answering every request with its subject."""
    someone = await server.connect(FLEET_USER)
    stream = someone.client.jetstream()
    for name, subject in {
        "INBOX_acme": "cb.acme.submit.>",
        "STREAMS": "cb.*.stream.*",
        "EVENTS": "cb.*.events.>",
        "JOURNAL_EXECUTION": "_cb.journal.execution.*",
        "DEAD": "_cb.dead.>",
    }.items():
        await stream.add_stream(StreamConfig(name=name, subjects=[subject], allow_direct=True))

    async def answer(message: Msg) -> None:
        if message.reply:
            await message.respond(message.subject.encode())

    for row in catalog.requests():
        await someone.client.subscribe(row.subject.replace("{tenant}", "*"), "q", cb=answer)
    await someone.client.flush()
    return someone


async def stored(fleet: Someone, stream: str) -> int:
    return (await fleet.client.jetstream().stream_info(stream)).state.messages


@pytest.mark.usefixtures("fleet")
async def test_a_user_is_answered_on_every_public_request(server: Server):
    alice = await server.tenant("acme", "alice")
    for subject in REQUESTS:
        answer = await alice.client.request(subject, b"{}", timeout=5)
        assert answer.data.decode() == subject
    assert alice.errors == []


async def test_nobody_there_is_known_at_once(server: Server):
    alice = await server.tenant("acme", "alice")
    with pytest.raises(NoRespondersError):
        await alice.client.request(REQUESTS[0], b"{}", timeout=5)


async def test_a_submitted_command_is_stored_and_the_receipt_says_so(
    server: Server, fleet: Someone
):
    alice = await server.tenant("acme", "alice")
    publish = alice.client.jetstream().publish
    receipts = [await publish(subject, b"{}", timeout=5) for subject in SUBMITS]
    assert [receipt.stream for receipt in receipts] == ["INBOX_acme"] * len(SUBMITS)
    assert await stored(fleet, "INBOX_acme") == len(SUBMITS)


async def test_the_first_command_of_a_tenant_is_stored_by_the_fleet_and_the_receipt_comes_back(
    server: Server,
):
    """Across accounts, where the reply subject that the fleet sees is one of the server's."""
    url = server.url.replace("//", f"//{FLEET_USER}:{PASSWORD}@")
    async with (
        open_bus(NatsAddress(urls=(url,), name="agents")) as bus,
        anyio.create_task_group() as tasks,
    ):
        submissions = Submissions("agents", [], bus, Timing())
        tasks.start_soon(submissions.run)
        await until(lambda: submissions.not_ready_reason() is None)
        carol = await server.tenant("globex", "carol")
        publish = carol.client.jetstream().publish
        subject = "cb.globex.submit.agents.execute"
        receipt = await publish(subject, b"{}", timeout=5, headers={"Nats-Msg-Id": "once"})
        assert receipt.stream == "INBOX_globex"
        again = await publish(subject, b"{}", timeout=5, headers={"Nats-Msg-Id": "once"})
        assert (again.seq, again.duplicate) == (receipt.seq, True)
        assert carol.errors == []
        tasks.cancel_scope.cancel()


@pytest.mark.usefixtures("fleet")
async def test_a_repeated_submission_is_known_by_its_message_id(server: Server):
    alice = await server.tenant("acme", "alice")
    publish, headers = alice.client.jetstream().publish, {"Nats-Msg-Id": "once"}
    first = await publish(SUBMITS[0], b"{}", timeout=5, headers=headers)
    again = await publish(SUBMITS[0], b"{}", timeout=5, headers=headers)
    assert (again.seq, again.duplicate) == (first.seq, True)


async def test_a_user_hears_its_tenants_streams_and_events_and_no_others(
    server: Server, fleet: Someone
):
    alice = await server.tenant("acme", "alice")
    await alice.listen("cb.acme.stream.*")
    await alice.listen("cb.acme.events.>")
    await fleet.client.publish("cb.globex.stream.e1", b"1")
    await fleet.client.jetstream().publish("cb.acme.stream.e1", b"2")
    await fleet.client.publish("cb.acme.stream.e1", b"3")
    await fleet.client.publish("cb.acme.events.execution.completed.e1", b"4")
    assert sorted(await alice.heard(3)) == [
        ("cb.acme.events.execution.completed.e1", b"4"),
        ("cb.acme.stream.e1", b"2"),
        ("cb.acme.stream.e1", b"3"),
    ]
    assert alice.errors == []


async def test_everything_else_is_denied_to_publish(server: Server, fleet: Someone):
    alice = await server.tenant("acme", "alice")
    for listened in ("cb.>", "_cb.>", "$KV.>", "$O.>", "$SRV.>", "_INBOX.acme-bob.>"):
        await fleet.listen(listened)
    for subject in DENIED_TO_PUBLISH:
        await alice.client.publish(subject, b"{}")
        assert f'publish to "{subject}"'.lower() in await alice.refusal()
    await fleet.client.flush()
    assert fleet.inbox == []


@pytest.mark.usefixtures("fleet")
async def test_everything_else_is_denied_to_subscribe(server: Server):
    alice = await server.tenant("acme", "alice")
    for subject in DENIED_TO_SUBSCRIBE:
        await alice.listen(subject)
        assert f'subscription to "{subject}"'.lower() in await alice.refusal()


async def test_a_forged_reply_subject_reaches_nothing_outside_the_tenant(
    server: Server, fleet: Someone
):
    alice, carol = await server.tenant("acme", "alice"), await server.tenant("globex", "carol")
    await carol.listen("_INBOX.globex-carol.>")
    await carol.listen("cb.globex.stream.*")
    for listened in ("_cb.>", "$KV.>", "cb.globex.>"):
        await fleet.listen(listened)
    for forged in FORGED_REPLIES:
        await alice.client.publish(SUBMITS[0], b"{}", reply=forged)
        await alice.client.publish(REQUESTS[0], b"{}", reply=forged)
    # What is sent last on one connection is answered last.
    await alice.client.request(REQUESTS[0], b"{}", timeout=5)
    receipt = await alice.client.jetstream().publish(SUBMITS[0], b"{}", timeout=5)
    assert receipt.seq == len(FORGED_REPLIES) + 1
    assert await stored(fleet, "JOURNAL_EXECUTION") == 0
    assert await stored(fleet, "DEAD") == 0
    await carol.client.flush()
    assert (fleet.inbox, carol.inbox) == ([], [])


async def test_a_forged_trace_destination_is_denied(server: Server, fleet: Someone):
    alice = await server.tenant("acme", "alice")
    await alice.client.publish(REQUESTS[0], b"{}", headers={"Nats-Trace-Dest": JOURNAL})
    assert f'publish to "{JOURNAL}"' in await alice.refusal()
    assert await stored(fleet, "JOURNAL_EXECUTION") == 0


@pytest.mark.usefixtures("fleet")
async def test_a_user_does_not_hear_what_another_of_its_tenant_asks_or_is_answered(server: Server):
    alice, bob = await server.tenant("acme", "alice"), await server.tenant("acme", "bob")
    await bob.listen("_INBOX.acme-alice.>")
    await bob.listen(REQUESTS[0])
    await alice.client.request(REQUESTS[0], b"{}", timeout=5)
    await bob.client.flush()
    assert bob.inbox == []


@pytest.mark.parametrize(
    ("user", "password"),
    [("acme-alice", "wrong"), ("acme-mallory", PASSWORD), ("fleet", ""), ("", "")],
)
async def test_a_wrong_user_or_password_or_none_is_refused(
    server: Server, user: str, password: str
):
    with pytest.raises(Refused):
        await server.connect(user, password, connect_timeout=2)


async def test_the_fleet_can_use_streams_buckets_and_direct_reads(fleet: Someone):
    stream = fleet.client.jetstream()
    await stream.publish("_cb.dead.acme.work.generate", b"item")
    puller = await stream.pull_subscribe("_cb.dead.>", durable="readers")
    (item,) = await puller.fetch(1, timeout=5)
    await item.ack_sync(timeout=5)
    bucket = await stream.create_key_value(KeyValueConfig(bucket="AGENTS", history=5))
    await bucket.put("acme.reviewer", b"v1")
    assert (await bucket.get("acme.reviewer")).value == b"v1"
    await stream.publish("cb.acme.stream.e1", b"delta")
    found = await stream.get_last_msg("STREAMS", "cb.acme.stream.e1", direct=True)
    assert found.data == b"delta"
    assert fleet.errors == []


def test_the_lists_of_denials_do_not_deny_what_is_offered():
    offered = [*REQUESTS, *SUBMITS]
    assert not [subject for subject in offered if subject in DENIED_TO_PUBLISH]
    assert not [s for s in DENIED_TO_SUBSCRIBE if matches("cb.acme.stream.*", s)]


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    "arguments", [("shards",), ("journal", "show", "execution", "e1"), ("dead", "list")]
)
async def test_a_tenant_is_told_what_only_operators_may_look_at(
    server: Server, arguments: tuple[str, ...]
):
    url = server.url.replace("//", f"//acme-alice:{PASSWORD}@")
    run = partial(CliRunner().invoke, main, arguments, env={"NATS_URL": url})
    done = await anyio.to_thread.run_sync(run)
    assert (done.exit_code, done.stderr.split(":")[0]) == (1, "forbidden")
