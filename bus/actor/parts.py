"""The parts of an actor's process: from its declaration, and from what it has made itself."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import anyio

from bus.actor.declaration import Own
from bus.actor.here import Here
from bus.archive import Archiver
from bus.requests.inboxes.rules import rules as inbox_rules
from bus.requests.service import Service, endpoints_of
from bus.requests.submissions import Submissions
from bus.runtime.supervision import Part, PartKind
from bus.work.worker import Worker, owners_of


def parts_of(here: Here, own: Own) -> list[Part]:
    """Return all parts of an actor in this process, in the order of starting.

    Raises:
        TypeError: its handlers are not of the services that it declares.
    """
    return [
        *_follows(here),
        *own.parts,
        *_hosts(here),
        *_projections(here),
        *_workers(here, own),
        *_services(here, own),
    ]


def _follows(here: Here) -> Iterator[Part]:
    for bucket, known in here.follows().items():
        yield Part(
            name=f"{bucket} known", run=anyio.sleep_forever, not_ready_reason=known.not_ready_reason
        )


def _hosts(here: Here) -> Iterator[Part]:
    bus, timing = here.bus, here.process.timing
    for entity in here.actor.entities:
        host = here.hosts[entity.name]
        yield Part.of(f"shards of {entity.name}", PartKind.HOST, host)
        if entity.archives:
            archiver = Archiver(entity.name, bus, timing, owned=lambda host=host: host.assigned)
            yield Part(name=f"archive of {entity.name}", run=archiver.run)


def _projections(here: Here) -> Iterator[Part]:
    for name, projector in here.projectors.items():
        yield Part(name=name, run=projector.run, not_ready_reason=projector.not_ready_reason)


def _workers(here: Here, own: Own) -> Iterator[Part]:
    """Yield the workers; how busy a process is, those tell whose work does not take hours."""
    process, principals = here.process, owners_of(here.reported_to())
    counted: list[Worker[Any]] = []
    for job in here.actor.jobs:
        places = job.places(here.config)
        worker = Worker(
            job.of(own.doer or here),
            principals,
            process.name,
            here.bus,
            process.timing,
            capacity=places,
        )
        if not job.is_long:
            counted.append(worker)
            process.load.capacity += places
        yield Part.of(f"{job.queue} work", PartKind.WORKER, worker)
    process.load.running = lambda: sum(worker.running for worker in counted)


def _services(here: Here, own: Own) -> Iterator[Part]:
    """Yield what answers requests, and what carries out those that were submitted."""
    actor, process, bus = here.actor, here.process, here.bus
    _check(actor.services, own.handlers)
    endpoints = [endpoint for handler in own.handlers for endpoint in endpoints_of(handler)]
    if not endpoints:
        return
    service = Service(actor.name, endpoints, bus, process.quotas)
    process.usage.add(service.load.uses)
    rules, shards = inbox_rules(here.config), here.config.shards
    submissions = Submissions(actor.name, endpoints, bus, process.timing, rules, shards=shards)
    yield Part.of("submissions", PartKind.SERVICE, submissions)
    yield Part(
        name="service",
        kind=PartKind.SERVICE,
        run=partial(_serve, service, here),
        drain=service.drain,
        not_ready_reason=service.not_ready_reason,
    )


async def _serve(service: Service, here: Here) -> None:
    await service.run(here.bus.public.client)


def _check(declared: Sequence[type[Any]], handlers: Sequence[object]) -> None:
    made: list[type[Any]] = [type(handler) for handler in handlers]
    if made != list(declared):
        raise TypeError(f"declared are the services {list(declared)}, and made {made}")
