"""The three shapes every message takes: a user's command, an answer or fact, and internal traffic."""

from typing import ClassVar

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A fact or an answer. Readers ignore fields they do not know, so that fields can be added.

    ``SUBJECT`` is the template of the subject the message is published on; answers have none.
    """

    SUBJECT: ClassVar[str | None] = None


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user's command or question. An unknown field is refused, because it is a misspelt one.

    ``SUBJECT`` is the template of its public subject, ``REPLY`` the message that answers it.
    """

    SUBJECT: ClassVar[str]
    REPLY: ClassVar[type[Message]]


class Internal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Traffic between our own processes: defaults are left out, because it is sent often."""
