"""What the worker registry keeps: workers as they are known, items they are given, and by whom."""

from typing import Protocol

from bus.subjects import offer_subject
from schemas.entity import EntityAddress
from schemas.work import AnyWorkItem


class ItemOwner(Protocol):
    """The owner of items, in an ``epoch`` of its ``shard``."""

    shard: str
    epoch: int

    @property
    def can_name(self) -> bool:
        """Whether it can use a grant at present: until then its places lapse."""
        ...

    def granted(self, assignment: "Assignment") -> None:
        """A worker keeps a place for an item that waits: it may be offered once that is stored."""
        ...

    def refused(self, assignment: "Assignment") -> None:
        """The worker has not taken the item, and never will."""
        ...

    def lost(self, assignment: "Assignment") -> None:
        """The worker has gone, and may have begun the item."""
        ...

    async def still_wants(self, assignment: "Assignment") -> bool:
        """Say whether the item may be offered once more."""
        ...


class Assignment:
    """An item that a worker is given, by the ``grant`` of that number where it has waited.

    ``taken`` is by the worker's word, ``tries`` counts the offers.
    """

    __slots__ = ("address", "at", "grant", "owner", "taken", "token", "tries", "work", "worker")

    def __init__(
        self,
        address: EntityAddress,
        work: AnyWorkItem,
        owner: ItemOwner,
        worker: "KnownWorker",
        grant: int = 0,
    ) -> None:
        self.address = address
        self.work = work
        self.owner = owner
        self.worker = worker
        self.grant = grant
        self.taken = False
        self.token = ""
        self.tries = 0
        self.at = 0.0


class KnownWorker:
    """A worker as we know it. It is ``full_for`` some lines until it says that it has room.

    ``room`` are its free places by its last word and our own offers since, ``granted`` is the
    highest number of its grants that we have heard of.
    """

    __slots__ = (
        "assignments",
        "full_for",
        "granted",
        "heard",
        "is_asked_after",
        "name",
        "queue",
        "room",
        "subject",
    )

    def __init__(self, name: str, queue: str, now: float) -> None:
        self.name = name
        self.queue = queue
        self.subject = offer_subject(name)
        self.heard = now
        self.is_asked_after = False
        self.full_for: set[str] = set()
        self.room = 0
        self.granted = 0
        self.assignments: dict[str, Assignment] = {}
