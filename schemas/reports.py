"""Reports of what was spent, and recommendations how to spend less. Money is int pico-dollars."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from schemas.base import Message, Question, Value
from schemas.executions import Label
from schemas.ids import END
from schemas.usage import Usage

TimeUnit = Literal["hour", "day", "week", "month", "weekday", "hour_of_day"]
"""Spans of local time; ``weekday`` and ``hour_of_day`` lay all weeks or days over each other."""

Dimension = Literal[
    "user",
    "project",
    "agent",
    "session",
    "model",
    "model_served",
    "provider",
    "tier",
    "region",
    "key",
]
GroupBy = TimeUnit | Dimension

Moment = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
        r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?" + END,
        description="a date, or a date and time, in the time zone of the question unless it has an "
        "offset",
    ),
]

TimeZone = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Totals(Value):
    """Sums over calls of models. Unpriced calls cost something that is not in ``cost_pico``.

    ``executions`` counts each once in its group, ``successes`` those that completed; a request for
    embeddings counts as one.
    ``cache_share`` is the part of all prompt tokens that caches served. In
    ``cost_per_success_pico`` is the cost of failures as well. ``p50_pico`` and ``p95_pico`` are of
    single priced calls, and only in reports from calls. ``reported_pico`` sums what providers
    themselves say. ``disputed_pico`` is what hosts without a secret of the operator have told
    beyond what was held: it is no cost.
    """

    cost_pico: int
    calls: int
    executions: int
    successes: int
    unpriced_calls: int
    estimated_calls: int
    usage: Usage
    reported_pico: int = 0
    disputed_pico: int = 0
    cache_share: float | None = None
    cost_per_success_pico: int | None = None
    p50_pico: int | None = None
    p95_pico: int | None = None


class CostLine(Value):
    """One group: the value of each dimension asked for, None where a call has none."""

    group: dict[str, str | None]
    totals: Totals


class Trend(Value):
    """How a span compares with the one of the same length before it.

    ``change`` is the relative one, None where nothing was spent before. ``forecast_30d_pico`` is
    what 30 days cost at the rate of this span.
    """

    previous: Totals
    change_pico: int
    change: float | None
    daily_pico: int
    forecast_30d_pico: int


class CostReport(Message):
    """What was spent from ``since`` up to ``until``: ``lines`` and ``rest`` sum up to ``total``.

    ``rest`` is what did not find room. ``behind_commits`` are commits of the ledger that are not
    counted yet, 0 unless the question allows it. ``source`` says what was read: sums by the hour
    and the day, which takes as long whatever the span, or each call.
    """

    since: datetime
    until: datetime
    time_zone: str
    group_by: list[GroupBy]
    lines: list[CostLine]
    total: Totals
    rest: Totals | None = None
    trend: Trend | None = None
    behind_commits: int = 0
    source: Literal["rollups", "calls"] = "calls"


class ReportCosts(Question):
    """Report what was spent, grouped by spans of time, people, projects, agents, models.

    Without ``since`` it begins 30 days ago, without ``until`` it ends now; ``until`` is excluded.
    ``fresh`` off takes an answer that lacks the newest commits, and says how many. Groups and
    filters by agent, project, provider and model, or by user and project, are answered from sums;
    ``percentiles`` and all other names read each call.
    """

    SUBJECT: ClassVar[str] = "pricing.report"
    REPLY: ClassVar[type[Message]] = CostReport
    ACTION: ClassVar[str] = "costs:read"

    group_by: Annotated[list[GroupBy], msgspec.Meta(max_length=4)] = []
    since: Moment | None = None
    until: Moment | None = None
    time_zone: TimeZone = "UTC"
    user: Label | None = None
    project: Label | None = None
    agent_id: Label | None = None
    provider: Label | None = None
    model: Label | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    trend: bool = False
    percentiles: bool = False
    fresh: bool = True


RecommendationKind = Literal[
    "batch",
    "cheaper_tier",
    "caching",
    "no_caching",
    "smaller_model",
    "over_reservation",
    "long_context",
]


class Recommendation(Value, omit_defaults=True):
    """One way to spend less, and what it would have saved on ``calls`` calls of the past.

    ``cost_pico`` is what they cost by the book of the answer, ``saving_pico`` the difference after
    the change. ``held_pico`` is money that was held without need; it costs nothing, and keeps
    others out.
    """

    kind: RecommendationKind
    provider: str
    model: str
    message: str
    calls: int
    cost_pico: int
    saving_pico: int
    agent_id: str | None = None
    instead: str | None = None
    held_pico: int = 0


class Recommendations(Message):
    """Ways to spend less, the largest saving first. They exclude each other in part.

    ``examined_calls`` were priced anew by the rate book ``book_id``; ``skipped_calls`` have no
    price in it, or are older than what one answer looks at.
    """

    since: datetime
    until: datetime
    book_id: str
    examined_calls: int
    skipped_calls: int
    cost_pico: int
    recommendations: list[Recommendation]
    behind_commits: int = 0


class RecommendSavings(Question):
    """Recommend how to spend less, by pricing past calls as they could have been made."""

    SUBJECT: ClassVar[str] = "pricing.recommend"
    REPLY: ClassVar[type[Message]] = Recommendations
    ACTION: ClassVar[str] = "costs:read"

    since: Moment | None = None
    until: Moment | None = None
    time_zone: TimeZone = "UTC"
    user: Label | None = None
    project: Label | None = None
    agent_id: Label | None = None
    provider: Label | None = None
    model: Label | None = None
    fresh: bool = True
