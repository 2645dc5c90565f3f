"""Content safety: what to look for in texts, and what was found. A finding never quotes a text."""

from typing import Annotated, Literal

import msgspec

from schemas.base import StrictValue, Value
from schemas.ids import Token
from schemas.providers import BaseUrl, ModelName

SafetyOutcome = Literal["blocked", "redacted", "flagged"]
"""The text goes no further, goes on with the finding replaced, or goes on as it is."""

SafetyPlace = Literal["input", "output"]

Places = Annotated[list[SafetyPlace], msgspec.Meta(min_length=1, max_length=2)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Threshold = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


def _both() -> list[SafetyPlace]:
    return ["input", "output"]


class SafetyRule(StrictValue, omit_defaults=True):
    r"""Any of some words or patterns, in any case, and what follows from it.

    Words match whole. A pattern is made of characters, ``\d \w \s``, ``.``, classes ``[a-z_]``
    and ``[^…]``, each followed by ``?``, ``{n}`` or ``{n,m}`` where it may be missing or repeated;
    every pattern has a longest match, so a stream is never held up for more than that.
    """

    name: Token
    outcome: SafetyOutcome
    words: Annotated[list[Word], msgspec.Meta(max_length=1000)] = []
    patterns: Annotated[list[Pattern], msgspec.Meta(max_length=100)] = []
    places: Places = msgspec.field(default_factory=_both)
    replacement: Annotated[str, msgspec.Meta(max_length=100)] = "[redacted]"


class Moderation(StrictValue, omit_defaults=True):
    """Categories that a provider's moderation endpoint judges, with the score that is too much.

    ``window`` is how many characters of an answer are judged, and held back, at a time.
    """

    categories: Annotated[
        dict[Annotated[str, msgspec.Meta(min_length=1, max_length=100)], Threshold],
        msgspec.Meta(min_length=1, max_length=50),
    ]
    outcome: Literal["blocked", "flagged"] = "blocked"
    model: ModelName = "omni-moderation-latest"
    base_url: BaseUrl | None = None
    secret: Token | None = None
    places: Places = msgspec.field(default_factory=_both)
    window: Annotated[int, msgspec.Meta(ge=50, le=20_000)] = 400


class Safety(StrictValue, omit_defaults=True):
    """What an agent's input and output are searched for."""

    rules: Annotated[list[SafetyRule], msgspec.Meta(max_length=100)] = []
    moderation: Moderation | None = None


class Finding(Value):
    """How often a rule, or a category as ``moderation.<category>``, was found, and its outcome."""

    rule: str
    outcome: SafetyOutcome
    place: SafetyPlace
    count: int = 1
