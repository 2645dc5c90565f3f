"""What providers say in a sentence alone: an empty wallet, a spent quota, a key that is wrong.

Where a code or type tells it as well, that counts (``failures``). A sentence is only matched and
never passed on. Sources: the error pages of the providers named, and public reports of what they
send.
"""

import re

from actors.streaming.core.decoding.counts import items, members
from actors.streaming.core.errors.failures import (
    LIMITED,
    MODEL_QUOTA,
    QUOTA,
    REFUSED_KEY,
    FailureKind,
)

_LONGEST = 2_000
"""Characters of a sentence that are looked at."""

_SHORT_WAIT = 60.0
"""A day's quota that is back within so many seconds is a limit of the rate like any other."""

_ABOUT_THE_KEY = frozenset({401, 402, 403, 412, 429})
"""Statuses under which the words may stand anywhere in the sentence.

Under others they must begin it: a 400 may quote the request, and whoever wrote that could otherwise
put a key to rest that others use as well.
"""

_PREFIX = (
    r"(?:[^\w'\"]|\d|[\w.]{0,40}(?:error|exception)\b|"
    r"(?:type|message|detail|api|code|status|http|upstream|provider)\b){0,16}?"
    r"(?:\{\s*(?>(?:\"\w+\"\s*:\s*(?:\"\w*\"\s*,|\d+\s*,|\{)?\s*){1,8})\")?"
)
"""What gateways put before another's sentence, down to the whole body as JSON.

But no quotation mark: behind one the words may be the asker's own.
"""

_WALLET = (
    # Anthropic
    r"your credit balance is too low",
    r"you have reached your specified (?:\w+ )?api usage limits",
    # OpenAI
    r"billing hard limit has been reached",
    r"your account is not active, please check your billing",
    # DeepSeek, MiniMax, SiliconFlow, Novita, and the gateways
    r"(?:insufficient|not enough|no remaining|out of) (?:\w+ )?(?:balance|credits?|funds|quota)",
    r"your (?:\w+ ){0,2}balance is (?:insufficient|not enough|exhausted|depleted|empty|negative)",
    r"sorry, your account balance is insufficient",
    r"payment (?:is )?required",
    # OpenRouter
    r"key limit exceeded",
    # Together, LiteLLM
    r"credit limit (?:has been )?(?:exceeded|reached)",
    r"(?:\w{1,20}: )?budget has been exceeded",
    # xAI
    r"your (?:newly created )?team\b.{0,80}\b(?:credits|spending limit)",
    # Groq
    r"your (?:organization|workspace|account) has reached its (?:\w+ )?(?:spend|spending) limit",
    # Fireworks
    r"account \S{1,80} is suspended",
    # Cohere
    r"you are using a trial key, which is limited to \d+ api calls / (?:month|day)",
    # Azure
    r"out of call volume quota",
    # Gemini
    r"your prepayment credits are depleted",
    r"your (?:project|billing account)\b.{0,80}\bspending cap",
    # Hugging Face, Ollama, Cloudflare, and plans in general
    (
        r"you(?:'ve| have) (?:exceeded|reached|used up|hit) your (?:\w+ ){0,3}"
        r"(?:monthly|weekly|daily|hourly|included|spending|spend|free)\b"
    ),
    r"(?:\w{1,20}: )?you have used up your daily",
    (
        r"(?:monthly|weekly|daily) (?:\w+ )?(?:limit|quota|budget|allowance) (?:\w+ ){0,2}"
        r"(?:exceeded|reached|exhausted)"
    ),
    r"inference prohibited, please enter a payment method",
    # DashScope, Zhipu, Moonshot
    r"access denied, please make sure your account is in good standing",
    r"\w{0,12}(?:\u4f59\u989d\u4e0d\u8db3|\u989d\u5ea6\u4e0d\u8db3|\u6b20\u8d39)",
)

_QUOTA = r"you exceeded your current quota"
"""Of OpenAI's kind a spent one; Gemini says it also of what is back within the minute."""

_TOO_DEAR = r"this request requires more credits"
"""OpenRouter's 402 of a call whose answer might be too long for what is left: others may pass."""

_A_DAY = (
    # Bedrock, Cerebras
    r"too many (?:tokens|requests) per day",
    r"(?:tokens|requests) per day limit exceeded",
    # Groq and OpenAI
    r"rate limit reached for .{1,160}\b(?:tokens|requests) per day\b",
    # OpenRouter, GitHub
    r"(?:rate limit exceeded: )?free-models-per-day",
    r"rate limit of \d+ per 86400s exceeded",
)

_WRONG_KEY = (
    r"(?:incorrect|invalid|wrong|expired|unknown) (?:x-)?api[ -]?key",
    r"api[ -]?key (?:is )?(?:not valid|invalid|incorrect|expired|missing)",
    r"no api[ -]?key (?:was )?(?:provided|found)",
    r"login fail",
)

_GEMINIS_NONE = re.compile(r"\blimit: 0\b")


def _begins(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\A{_PREFIX}(?:{'|'.join(patterns)})", re.IGNORECASE | re.DOTALL)


def _within(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


_ALL = (_WALLET, (_QUOTA,), (_TOO_DEAR,), _A_DAY, _WRONG_KEY)
_BEGINS = [_begins(each) for each in _ALL]
_WITHIN = [_within(each) for each in _ALL]


def meant(error: object, status: int | None, wait: float | None) -> FailureKind | None:
    """Return what an error's sentence says of the key, None if nothing.

    ``status`` is None inside a stream. ``wait`` is what the provider asks for, in seconds.
    """
    said = sentence(error)
    if _is_googles(error):
        return _googles(error, said)
    if not said:
        return None
    wallet, quota, dear, day, wrong = _WITHIN if status in _ABOUT_THE_KEY else _BEGINS
    if wallet.search(said) or quota.search(said):
        return QUOTA
    if dear.search(said):
        return MODEL_QUOTA
    if day.search(said):
        return LIMITED if wait is not None and wait <= _SHORT_WAIT else MODEL_QUOTA
    return REFUSED_KEY if wrong.search(said) else None


def sentence(error: object) -> str:
    """Return what an error says for people to read, wherever that stands; "" if nothing."""
    if isinstance(error, str):
        return error[:_LONGEST]
    told = members(error)
    for name in ("message", "msg", "Message", "error_msg", "error", "detail", "title"):
        value = told.get(name)
        first = next(iter(items(value)), value)
        if first and (said := sentence(first)):
            return said
    return ""


def _is_googles(error: object) -> bool:
    return members(error).get("status") == "RESOURCE_EXHAUSTED"


def _googles(error: object, said: str) -> FailureKind | None:
    """Tell a day's quota, or none at all, from the minute's: all are the same status.

    The delay that Google asks for is the minute's in each case.
    """
    violations = [
        str(members(violation).get("quotaId"))
        for detail in items(members(error).get("details"))
        for violation in items(members(detail).get("violations"))
    ]
    if any("PerDay" in violation for violation in violations) or _GEMINIS_NONE.search(said):
        return MODEL_QUOTA
    return QUOTA if _BEGINS[0].search(said) else None
