"""The shapes a message takes: a user's command, an answer or fact, internal traffic."""

from typing import Annotated, Any, ClassVar, dataclass_transform

import msgspec

LARGE_REQUEST_BYTES = 12 * 1024**2
"""What a request may have that carries a model's input, images included.

With what is stored and sent on beside it, it stays below the 16 MiB that one message may have.
"""

Offset = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""How many rows come before a page."""

Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
"""Behind which row a page begins, as the page before it has told."""


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


class Request(msgspec.Struct, metaclass=FrozenMeta, forbid_unknown_fields=True):
    """A user's command or question. An unknown field is refused, because it is a misspelt one.

    ``SUBJECT`` is the template of its public subject, ``REPLY`` the message that answers it. It is
    refused unread above ``MAX_BYTES``; ``BULK`` is the field that makes such a one large.
    """

    SUBJECT: ClassVar[str]
    REPLY: ClassVar[type[Message]]
    MAX_BYTES: ClassVar[int] = 1024**2
    BULK: ClassVar[str | None] = None

    def held_back(self) -> float:
        """Return for how many seconds its answer may be held back on purpose."""
        return 0.0


class Internal(msgspec.Struct, metaclass=FrozenMeta, omit_defaults=True):
    """Traffic between our own processes: defaults are left out, because it is sent often."""
