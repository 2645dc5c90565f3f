"""What of a provider's counts can be believed: one rule for all wires.

Counts are cumulative, so none shrinks. Where the total exceeds the sum of the parts, the rest
belongs to the part that is missing; where a detail exceeds its parent, it is held within it. What
cannot be (nothing made beside a text, a prompt of nothing, a number that is no count) is replaced
by an estimate, and the usage is marked as estimated.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from actors.streaming.core.decoding import counts
from schemas.usage import Quality, Usage

MOST_OUTPUT = 2**21
"""No answer has more tokens: twice the longest context that models write in."""

Buckets = Callable[[Mapping[str, Any], Quality], Usage]


class Shape(NamedTuple):
    """How a wire names its counts.

    ``details`` are the paths of further counts. ``total`` counts all tokens, "" where nothing does.
    With ``omits_zeros`` a count that is left out, beside another one, is a zero.
    """

    prompt: str
    output: str
    total: str = ""
    details: tuple[tuple[str, ...], ...] = ()
    omits_zeros: bool = False

    def doubts(self, raw: Mapping[str, Any]) -> bool:
        """Say whether something stands in the place of a count that is none."""
        paths = ((self.prompt,), (self.output,), *self.details)
        return any(counts.is_garbled(raw, *path) for path in paths)


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the later usage over the earlier one, without any count growing smaller.

    A later null, or what is no count, does not erase one either.
    """
    joined = dict(old)
    for name, value in new.items():
        before = joined.get(name)
        if within := counts.members(before):
            joined[name] = merged(within, counts.members(value))
        elif counts.is_count(before):
            joined[name] = max(before, value) if counts.is_count(value) else before
        elif value is not None or name not in joined:
            joined[name] = value
    return joined


def topped(usage: Usage, total: int) -> Usage:
    """Give what a total has beyond the parts to the part that is missing, and bound the details.

    That is the prompt, if nothing is told of it, and else the answer, whose thoughts some servers
    count nowhere but in the total.
    """
    missing = total - usage.total
    if 0 < missing <= MOST_OUTPUT and usage.prompt:
        usage = msgspec.structs.replace(usage, output=usage.output + missing)
    elif missing > 0 and usage.made and not usage.prompt:
        usage = msgspec.structs.replace(usage, input=missing)
    return bounded(usage)


def bounded(usage: Usage) -> Usage:
    """Hold the parts of the output within it."""
    if max(usage.reasoning, usage.citation) <= usage.output:
        return usage
    reasoning, citation = (min(part, usage.output) for part in (usage.reasoning, usage.citation))
    return msgspec.structs.replace(usage, reasoning=reasoning, citation=citation)


class UsageStanding(NamedTuple):
    """What is known of an answer whose counts are to be believed.

    ``is_said`` says that there is something of it, ``is_last`` that the counts came behind all
    text. ``guess`` returns the estimate of what was used.
    """

    quality: Quality
    is_said: bool
    is_last: bool
    guess: Callable[[], Usage]


def believed(
    raw: Mapping[str, Any] | None, shape: Shape, buckets: Buckets, standing: UsageStanding
) -> Usage:
    """Return the usage as far as it can be believed, and the estimate in place of the rest.

    Before the end of an answer (``partial_stream``) the prompt suffices: whatever was told of the
    output by then, it is at least the estimate.
    """
    if raw is None:
        return standing.guess()
    usage = buckets(raw, standing.quality)
    prompt = _has_prompt(raw, shape, usage)
    output = _has_output(raw, shape, usage, standing)
    doubts = shape.doubts(raw)
    if prompt and output and not doubts and standing.quality == "exact":
        return usage
    guess = standing.guess()
    if not prompt:
        usage = _with_prompt(usage, guess.input)
    if not output or standing.quality == "partial_stream":
        usage = _with_output(usage, guess)
    quality = "partial_stream" if prompt and not doubts else "estimated"
    is_partial = standing.quality == "partial_stream"
    return bounded(msgspec.structs.replace(usage, quality=quality if is_partial else "estimated"))


def _has_prompt(raw: Mapping[str, Any], shape: Shape, usage: Usage) -> bool:
    """Say whether the prompt is counted: it is not nothing, unless a total confirms even that."""
    if usage.prompt:
        return True
    omitted = (
        shape.omits_zeros and shape.prompt not in raw and counts.is_count(raw.get(shape.output))
    )
    return omitted or _is_confirmed(raw, shape, usage)


def _has_output(
    raw: Mapping[str, Any], shape: Shape, usage: Usage, standing: UsageStanding
) -> bool:
    """Say whether the answer is counted, by its own count or by the rest of the total.

    What was told before text came does not count that text.
    """
    is_told = counts.is_count(raw.get(shape.output))
    if usage.made > MOST_OUTPUT:
        return False
    if not standing.is_last:
        return False
    if usage.made:
        return is_told or _is_confirmed(raw, shape, usage)
    if not standing.is_said:
        return is_told or shape.omits_zeros or _is_confirmed(raw, shape, usage)
    return is_told and _is_confirmed(raw, shape, usage)


def _is_confirmed(raw: Mapping[str, Any], shape: Shape, usage: Usage) -> bool:
    return 0 < counts.at(raw, shape.total) == usage.total


def _with_prompt(usage: Usage, tokens: int) -> Usage:
    return msgspec.structs.replace(usage, input=tokens)


def _with_output(usage: Usage, guess: Usage) -> Usage:
    """Put the estimate in place of an output that is smaller, or larger than any can be.

    Thoughts that are counted, though the text is not, stand beside it.
    """
    told = usage.output if usage.made <= MOST_OUTPUT else 0
    hidden = usage.reasoning if told == usage.reasoning else 0
    output = max(told, guess.output, hidden + guess.output - guess.reasoning)
    return msgspec.structs.replace(
        usage,
        output=output,
        reasoning=max(usage.reasoning if told else 0, guess.reasoning),
        audio_output=0 if told < usage.output else usage.audio_output,
    )
