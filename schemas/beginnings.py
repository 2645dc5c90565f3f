"""Beginnings: an entity has a request made on its behalf, and is told when what it began has ended.

A step of a workflow runs an agent, an agent runs another one: what they begin is an execution or an
instance of a workflow like any that a user begins, by the same public request. The entity opens an
item in the queue ``begin`` for it, whose id is that of what is begun, so that an item that is given
out again attaches to what stands. The worker makes the request on the subject of the fleet's own
requests, in the name of ``by``, and reports ``HasBegun`` or why it was refused. What was begun
tells the entity of its end by ``schemas.callbacks.Ended``.
"""

import msgspec

from schemas.base import Internal
from schemas.identity import Principal
from schemas.ids import Token
from schemas.work import Done, ReplyTo

BEGIN_QUEUE = "begin"

REPLY_TO_HEADER = "Callboard-Reply-To"
"""The header in which a member of the fleet says who is told of the end, as JSON of ``Beginner``.

Like the principal's it is believed on ``_cb.ask`` subjects alone.
"""

BEGINNERS = ("execution", "workflow", "trigger")
"""The entities that begin something by an item, and are told of its end."""

MOST_DEPTH = 2
"""So many beginnings may lie in each other: an agent that runs another one, which runs a third."""


class Beginner(Internal):
    """Who began something: the entity that is told of its end, and how deep that lies itself.

    ``scope`` is the run whose budget it counts against, if there is one.
    """

    reply_to: ReplyTo
    depth: int = 0
    scope: str | None = None


class BeginWork(Internal):
    """The body of an item: the public request of this name, with ``id`` set in it."""

    name: str
    id: Token
    request: msgspec.Raw
    by: Principal
    depth: int = 0
    scope: str | None = None


class HasBegun(Done, tag="begun"):
    """It stands, under the id that the item names. ``stream`` is the subject of its events."""

    stream: str = ""
