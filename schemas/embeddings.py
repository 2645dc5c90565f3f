"""Embeddings: texts as vectors, from the same providers that answer."""

from typing import Annotated, ClassVar

import msgspec

from schemas.base import LARGE_REQUEST_BYTES, Message, Question
from schemas.ids import ExecutionId, Label
from schemas.llm import AnswerWarning
from schemas.policy import Keys
from schemas.providers import Provider
from schemas.usage import Usage

MAX_TEXTS = 2048

RETENTION_SECONDS = 3600
"""How long the vectors of a request can be asked for again under its id."""

EmbeddedText = Annotated[str, msgspec.Meta(min_length=1, max_length=200_000)]


class Embeddings(Message, tag="embeddings"):
    """One vector for each text, in their order; numbers have the precision of 32 bits.

    Where they do not fit into one answer, ``next`` is the place of the first that is missing: the
    same request with that ``offset`` returns those that follow. ``execution_id`` is the id that
    it needs then. A warning says that the vectors have another size than was asked for.
    """

    vectors: list[list[float]]
    dimensions: int
    model_served: str | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    warnings: list[AnswerWarning] = []
    execution_id: ExecutionId | None = None
    next: int | None = None


class EncodedEmbeddings(Message, tag="embeddings"):
    """``Embeddings`` whose vectors are JSON already.

    A million numbers take a tenth of a second to encode, so that is done vector by vector.
    """

    vectors: list[msgspec.Raw]
    dimensions: int
    model_served: str | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    warnings: list[AnswerWarning] = []
    execution_id: ExecutionId | None = None
    next: int | None = None


class Embed(Question):
    """Turn texts into vectors. ``dimensions`` shortens them where the model can.

    Where it does not, the answer warns; with ``dimensions_strict`` it is refused instead.

    It is an execution like any other, which ends within a minute: with its ``id`` it can be read
    and cancelled, and the same ``id`` is the same run. For an hour after it began the vectors can
    be asked for again, those from ``offset`` on and no more than ``limit`` of them.

    As many texts as a provider takes go in one call, and several calls at a time, with the best of
    the ``keys``. What fails in passing is asked again.
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
    id: ExecutionId | None = None
    offset: Annotated[int, msgspec.Meta(ge=0, lt=MAX_TEXTS)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_TEXTS)] | None = None
