"""Embeddings: texts as vectors, from the same providers that answer."""

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from schemas.base import LARGE_REQUEST_BYTES, Internal, Message, Question
from schemas.events import EmbeddedEvent
from schemas.ids import Label, TenantId
from schemas.llm import AnswerWarning
from schemas.policy import Keys
from schemas.problems import Problem
from schemas.providers import Provider
from schemas.usage import Usage
from schemas.work import Done

MAX_TEXTS = 256
"""So many vectors of 4,096 numbers fit into one reply."""

EmbeddedText = Annotated[str, msgspec.Meta(min_length=1, max_length=200_000)]


class Embeddings(Message, tag="embeddings"):
    """One vector for each text, in their order; numbers have the precision of 32 bits.

    A warning says that they have another size than was asked for.
    """

    vectors: list[list[float]]
    dimensions: int
    model_served: str | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    warnings: list[AnswerWarning] = []


class EncodedEmbeddings(Message, tag="embeddings"):
    """``Embeddings`` whose vectors are JSON already: on the way to their asker nobody reads them.

    A million numbers take a tenth of a second to encode, and as long to decode.
    """

    vectors: list[msgspec.Raw]
    dimensions: int
    model_served: str | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    warnings: list[AnswerWarning] = []


class Embed(Question):
    """Turn texts into vectors. ``dimensions`` shortens them where the model can.

    Where it does not, the answer warns; with ``dimensions_strict`` it is refused instead.

    As many texts as a provider takes go in one call, and several calls at a time, with the best of
    the ``keys``. What fails in passing is asked again, within a minute in all. What is used is told
    in an ``EmbeddedEvent``, for ``user`` and ``project``.
    """

    SUBJECT: ClassVar[str] = "llm.embed"
    REPLY: ClassVar[type[Message]] = Embeddings
    ACTION: ClassVar[str] = "executions:write"
    MAX_BYTES: ClassVar[int] = LARGE_REQUEST_BYTES
    BULK: ClassVar[str | None] = "texts"

    provider: Provider
    texts: Annotated[list[EmbeddedText], msgspec.Meta(min_length=1, max_length=MAX_TEXTS)]
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=16_384)] | None = None
    dimensions_strict: bool = False
    keys: Keys = []
    user: Label | None = None
    project: Label | None = None


# Inside the fleet


class EmbedWork(Internal, tag="embed"):
    """The body of a work item: a request whose asker waits at ``reply``.

    ``most`` is what one attempt may use, estimated. ``attempt`` counts from 1: each worker that
    dies with the request costs one.
    """

    id: str
    tenant: TenantId
    reply: str
    wanted: Embed
    at: datetime
    deadline: datetime
    most: Usage
    attempt: int = 1


class EndEmbedding(Done, tag="embed.end"):
    """What became of a request: the answer, and what is to be told of it."""

    answer: EncodedEmbeddings | Problem
    event: EmbeddedEvent | None = None
