"""The shapes a message takes: a user's command, an answer or fact, internal traffic.

Public requests and facts are registered when their classes are defined. The catalogue, and with it
documents, permissions, durable forms and the command line, derive from these two registries.
"""

import re
from typing import Annotated, Any, ClassVar, dataclass_transform

import msgspec

from schemas.identity import ACTIONS

LARGE_REQUEST_BYTES = 12 * 1024**2
"""What a request may have that carries a model's input, images included.

With what is stored and sent on beside it, it stays below the 16 MiB that one message may have.
"""

Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""How many rows come before a page."""

Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
"""Behind which row a page begins, as the page before it has told."""

PUBLIC = "cb.{tenant}."
"""How a public subject begins: the request itself, ``cb.<tenant>.<domain>.<verb>``."""

SUBMIT = "cb.{tenant}.submit."
"""How the durable form of a command begins."""

ASK = "_cb.ask.{tenant}."
"""How a request of a member of the fleet begins, who says on whose behalf it asks."""

RESERVED = ("stream", "events", "record", "submit")
"""What stands in a public subject where others have their domain."""

_NAME = re.compile(r"(?P<domain>[a-z][a-z_]*)(\.[a-z][a-z_]*){1,2}")

REQUESTS: dict[str, type["Request"]] = {}
"""Every request of the contract that was defined, by its name."""

FACTS: list[type["Message"]] = []
"""Every message with a public subject of its own that was defined."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class FrozenMeta(msgspec.StructMeta):
    """Makes every message immutable and built by keyword, however far down it is derived.

    A Struct hands neither option on to the fields of its subclasses by itself.
    """

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> "FrozenMeta":
        """Create the class with both options on, unless it says otherwise."""
        options = {"frozen": True, "kw_only": True} | options
        return super().__new__(mcls, name, bases, namespace, **options)


class Value(msgspec.Struct, metaclass=FrozenMeta):
    """A part of a message: it has no subject of its own. Unknown fields are ignored."""


class StrictValue(msgspec.Struct, metaclass=FrozenMeta, forbid_unknown_fields=True):
    """A part of what a user writes: an unknown field is refused, because it is a misspelt one."""


class Message(msgspec.Struct, metaclass=FrozenMeta):
    """A fact or an answer. Readers ignore fields they do not know, so that fields can be added.

    ``SUBJECT`` is the template of the subject the message is published on; answers have none.
    """

    SUBJECT: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        """Register a class that is published on a public subject of its own."""
        super().__init_subclass__()
        subject = vars(cls).get("SUBJECT")
        if subject is not None and subject.startswith(PUBLIC):
            FACTS.append(cls)


class Request(msgspec.Struct, metaclass=FrozenMeta, forbid_unknown_fields=True):
    """What a user asks: a ``Command`` or a ``Question``. An unknown field is a misspelt one.

    ``SUBJECT`` is its name, ``<domain>.<verb>`` or ``<domain>.<noun>.<verb>``: its public subject
    without the tenant. ``REPLY``
    is the message that answers it, ``ACTION`` what a principal must be allowed to do. It is refused
    unread above ``MAX_BYTES``; ``BULK`` is the field that makes such a one large. With ``PLATFORM``
    operators may ask it in the name of the platform.
    """

    SUBJECT: ClassVar[str]
    REPLY: ClassVar[type[Message]]
    ACTION: ClassVar[str]
    MAX_BYTES: ClassVar[int] = 1024**2
    BULK: ClassVar[str | None] = None
    PLATFORM: ClassVar[bool] = False

    def held_back(self) -> float:
        """Return for how many seconds its answer may be held back on purpose."""
        return 0.0


class Command(Request):
    """A request that changes something. It has a durable form, which is carried out unanswered."""

    def __init_subclass__(cls) -> None:
        """Register the class unless it is a base of others, which has no ``SUBJECT``."""
        super().__init_subclass__()
        _register(cls)


class Question(Request):
    """A request that changes nothing, or whose answer is all that it is for: it is never stored."""

    def __init_subclass__(cls) -> None:
        """Register the class unless it is a base of others, which has no ``SUBJECT``."""
        super().__init_subclass__()
        _register(cls)


class Internal(msgspec.Struct, metaclass=FrozenMeta, omit_defaults=True):
    """Traffic between our own processes: defaults are left out, because it is sent often."""


def _register(kind: type[Request]) -> None:
    """Take a request into the registry.

    Raises:
        TypeError: its name is malformed or taken, or its reply or action is missing.
    """
    name = vars(kind).get("SUBJECT")
    if name is None:
        return
    match = _NAME.fullmatch(name)
    if match is None or match["domain"] in RESERVED:
        raise TypeError(f"{kind.__name__}: {name!r} is no <domain>.<verb>")
    if name in REQUESTS:
        raise TypeError(f"{kind.__name__}: {name} is {REQUESTS[name].__name__} already")
    reply: object = getattr(kind, "REPLY", None)
    if not (isinstance(reply, type) and issubclass(reply, Message)):
        raise TypeError(f"{kind.__name__}: its REPLY is no Message")
    if getattr(kind, "ACTION", None) not in ACTIONS:
        raise TypeError(f"{kind.__name__}: its ACTION is none of schemas.identity")
    REQUESTS[name] = kind
