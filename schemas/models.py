"""The models of the rate book: their windows, their prices, what they are called with."""

from typing import Annotated, ClassVar

import msgspec

from schemas.base import Message, Offset, Question, Value
from schemas.ids import Token
from schemas.pricing.units import Bucket


class ModelRate(Value, omit_defaults=True):
    """What a bucket of usage costs, in pico-dollars (10**-12 USD) for ``per`` units."""

    bucket: Bucket
    rate_pico: int
    per: int = 1


class ModelRow(Message):
    """One model at one provider, as the rate book has it.

    ``type`` is that of the provider in a definition which calls it, None where only ``custom`` can.
    ``context_window`` is how many tokens prompt and answer may have together, ``max_output`` the
    answer alone; None is not known. ``rates`` are those of the standard service now, up to the
    first tier of large prompts; ``tiered`` says that there is one. Without rates it has no price.
    """

    provider: str
    model: str
    type: str | None
    context_window: int | None
    max_output: int | None
    rates: list[ModelRate]
    tiered: bool


class ModelList(Message):
    """A page of models; ``total`` counts all that match."""

    models: list[ModelRow]
    total: int
    limit: int
    offset: int
    book_id: str


class ListModels(Question):
    """List the models of the rate book with windows and prices, by provider and name, in pages.

    ``provider`` is a type of provider, a name of the rate book, or the address of an API.
    ``search`` looks into the names of models. ``book`` is the id or name of another book than the
    one in force.
    """

    SUBJECT: ClassVar[str] = "models.list"
    REPLY: ClassVar[type[Message]] = ModelList
    ACTION: ClassVar[str] = "prices:read"

    provider: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)] | None = None
    search: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    book: Token | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    offset: Offset = 0
