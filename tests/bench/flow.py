"""The two processes of a durable flow, for a bench: its owner, and the worker that does its steps.

``python -m tests.bench.flow owner`` and ``python -m tests.bench.flow worker``. All but the flow
itself is the run time of the fleet.
"""

import os
import sys
from pathlib import Path

import anyio

from bus.codec import decode
from bus.config import Config, load
from bus.ids import new_id
from bus.requests.caller import Caller
from bus.requests.rpc import Owners, command
from bus.requests.service import Service, ServiceEndpoint
from bus.runtime.process import Process, main, opened
from bus.runtime.supervision import Part, PartKind
from bus.shard import ShardHost
from bus.work.worker import Job, Worker, owners_of
from schemas.work import WorkItem
from tests.bench.flow_entity import (
    ENTITY,
    QUEUE,
    Begin,
    Finish,
    FlowHandle,
    StartFlow,
    Step,
    entity,
)

CAPACITY = 256
ANSWER_SECONDS = 10.0
LEDGER = "FLOW_LEDGER"
"""The file in which workers note what they do, outside the system that is measured."""

SHARDS = int(os.environ.get("FLOW_SHARDS", "16"))


async def own() -> None:
    """Own flows, and take requests for them."""
    async with opened("flow-owner", load(Config, os.environ), entities=[ENTITY]) as process:
        bus, timing = process.bus, process.timing
        host = ShardHost(entity(), SHARDS, process.name, process.membership, bus, timing)
        owners = Owners(bus.transport, ENTITY, SHARDS, timing, nearby=host.offer)

        async def start(caller: Caller, wanted: StartFlow) -> FlowHandle:
            return await _start(owners, caller, wanted)

        service = Service("flows", (ServiceEndpoint(StartFlow, start),), bus)

        async def serve() -> None:
            await service.run(bus.nats.client)

        shards = Part.of("shards", PartKind.HOST, host)
        await process.run(
            [shards, Part(name="service", run=serve, not_ready_reason=service.not_ready_reason)]
        )


async def _start(owners: Owners, caller: Caller, wanted: StartFlow) -> FlowHandle:
    flow_id = new_id()
    begin = Begin(
        tenant=caller.tenant,
        flow_id=flow_id,
        answer_to=wanted.answer_to,
        seconds=wanted.seconds,
    )
    envelope = command("begin", caller.tenant, flow_id, begin, fresh=True)
    return decode(FlowHandle, await owners.ask(envelope, timeout=ANSWER_SECONDS))


async def work() -> None:
    """Do the steps of flows."""
    async with opened("flow-worker", load(Config, os.environ)) as process:
        worker = _worker(process)
        part = Part(
            name="worker",
            run=worker.run,
            drain=worker.drain,
            not_ready_reason=worker.not_ready_reason,
        )
        await process.run([part])


def _worker(process: Process) -> Worker[Step]:
    job = Job(queue=QUEUE, body_type=Step, handle=do_step)
    owners = owners_of({ENTITY: Owners(process.bus.transport, ENTITY, SHARDS, process.timing)})
    return Worker(job, owners, process.name, process.bus, process.timing, capacity=CAPACITY)


async def do_step(item: WorkItem[Step]) -> Finish:
    """Do one step: count."""
    step = item.body
    note("begun", step)
    if step.seconds:
        await anyio.sleep(step.seconds)
    note("ended", step)
    return Finish(work=item.work, attempt=item.attempt, value=step.value + 1)


def note(what: str, item: Step) -> None:
    """Write into the ledger, if there is one, what happens to a step."""
    ledger = os.environ.get(LEDGER)
    if ledger:
        with Path(ledger).open("a", encoding="ascii") as file:
            file.write(f"{what} {item.flow_id}.{item.step}\n")


if __name__ == "__main__":
    main({"owner": own, "worker": work}[sys.argv[1]])
