"""What all readers of answers share, whatever the wire format: collecting, bounds, the end."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from actors.streaming.core.decoding import counts
from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.errors.faults import ProviderFaultError, fault
from actors.streaming.core.framing.protocol import Framing
from actors.streaming.core.reading import finish_words
from actors.streaming.core.reading.finish_words import UNSURE, Ending
from actors.streaming.core.reading.fragments import CallFragments
from actors.streaming.core.reading.garbled import GarbledError
from actors.streaming.core.reading.settling import Settling, SettlingProgress
from actors.streaming.core.reading.tool_calls import ToolCalls
from actors.streaming.core.tokens import estimate
from actors.streaming.core.tokens.reckoning import Shape, UsageStanding, believed, merged
from schemas.llm import Answer, FinishReason, GenerateRequest, ProviderBlock, Wire
from schemas.sse import FramingError
from schemas.usage import Quality, Usage

MAX_TIER_CHARACTERS = 64
MAX_ANSWER_CHARACTERS = 8 * 1024 * 1024
"""Text, reasoning and blocks together; ten times what the longest output limits allow."""

MAX_GARBLED = 16
"""So many unreadable events are passed over, for the good ones between them, before it is enough.
The call fails in any case."""

E = TypeVar("E")


class StreamPlace(NamedTuple):
    """Where in an answer something stands: after so much text, after so many tool calls."""

    after_text: int
    after_calls: int


class Reader(ABC, Generic[E]):
    """Collects one answer from the bytes of a stream, however they are cut.

    Feed it what each read of the connection brings, b"" at the end of the stream, until ``done``;
    then ``finish``. A wire format says in ``_event`` what an event means and calls ``_ends`` at
    the model's own word that it has ended, and ``_closes`` where the format itself marks the end:
    only then is an answer ``whole``. A stream that ends before is a failure, never a short success.

    A failure never swallows what came before it: ``feed`` returns the deltas up to it and is
    ``done``, and ``finish`` raises.
    """

    WIRE: Wire
    SHAPE: Shape
    """How the wire names its counts."""
    MAY_REPEAT = False
    """Whether the format allows a word for the end with every chunk."""

    def __init__(self, request: GenerateRequest, framing: Framing[E]) -> None:
        self.done = False
        self.steps = 0
        """Events so far that are more than a sign of life. Where none comes, nothing progresses."""
        self._request = request
        self._framing = framing
        self._deltas: list[Delta] = []
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._text_length = 0
        self._size = 0
        self._calls = ToolCalls()
        self._fragments = CallFragments(self._calls, (tool.name for tool in request.tools))
        self._blocks: list[ProviderBlock] = []
        self._settling = Settling(may_repeat=self.MAY_REPEAT)
        self._has_ended: bool | None = None
        self._counted_at = 0
        self._model: str | None = None
        self._tier: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self._fault: ProviderFaultError | None = None
        self._garbled = 0

    @property
    def whole(self) -> bool:
        """Whether the answer has ended; known for good once the reader is done."""
        if self._has_ended is not None:
            return self._has_ended
        return self._settling.whole(self._progress())

    @property
    def settled(self) -> bool:
        """Whether only accounts may follow: silence, or a loss of the connection, is an end too."""
        # Asked before each read, so that it must cost nothing while there is no word.
        return self._settling.ending is not None and self.whole

    @property
    def silent(self) -> bool:
        """Whether nothing has been said yet, and nothing counted."""
        return not (self._size or len(self._calls) or self._usage)

    def feed(self, chunk: bytes) -> list[Delta]:
        """Take the next bytes, b"" at the end; return what the answer grows by."""
        deltas: list[Delta] = []
        self._deltas = deltas
        try:
            if chunk:
                self._take(self._framing.feed(chunk), at_end=False)
            else:
                self._take(self._framing.finish(), at_end=True)
                self.done = True
        except FramingError:
            message = "The provider's stream breaks all bounds."
            self._fail(fault("provider_error", message, retryable=False))
        except ProviderFaultError as error:
            self._fail(error)
        if self.done and self._has_ended is None:
            self._has_ended = self._settling.whole(self._progress())
        return deltas

    def finish(self) -> list[Delta]:
        """Return the tool calls, whole, when the reader is done.

        Raises:
            ProviderFaultError: the provider reported an error, spoke nonsense, ended the stream
                before its terminal event, or ended the answer with the word of a failure.
        """
        if self._fault is not None:
            raise self._fault
        if not self.whole:
            raise fault("provider_error", "The provider ended the stream in mid-answer.")
        self._fragments.settle()
        problem = self._settling.problem(self._progress())
        if problem is not None:
            raise ProviderFaultError(problem)
        return list(self._calls.finished())

    def answer(self) -> Answer:
        """Return the whole answer; only after ``finish``. Missing usage is estimated."""
        return Answer(
            text="".join(self._text),
            finish_reason=self._reason(),
            usage=self._counted("exact"),
            reasoning="".join(self._reasoning),
            tool_calls=self._calls.finished(),
            model_served=self._model,
            provider_finish_reason=self._settling.word,
            blocks=self._blocks,
            warnings=self._settling.warnings(),
            raw_usage=dict(self._usage or {}),
            side_usage=self._side_usage(),
            service_tier=self._tier,
        )

    def spent(self) -> Usage:
        """Return what the call has used so far: the provider's last word, else an estimate."""
        return self._counted("exact" if self.whole else "partial_stream")

    # What a wire format says

    @abstractmethod
    def _event(self, event: E) -> None:
        """Take in one event. One that is a sign of life and no more is taken from the ``steps``.

        Raises:
            GarbledError: it is none.
            ProviderFaultError: the provider reports an error.
        """

    @abstractmethod
    def _buckets(self, raw: Mapping[str, Any], quality: Quality) -> Usage:
        """Put the provider's usage into buckets; what it does not tell is 0."""

    def _side_usage(self) -> dict[str, Usage]:
        """Return what other models used by the way, by model."""
        return {}

    def _reason(self) -> FinishReason:
        told = self._settling.ending or UNSURE
        # Several providers say "stop" also where the model waits for its tools.
        if len(self._calls) and told.reason in {"stop", "other"}:
            return "tool_calls"
        return "stop" if told.reason == "tool_calls" and not len(self._calls) else told.reason

    # What a wire format calls

    def _say(self, text: str) -> None:
        """Grow the answer's text."""
        length = len(text)
        self._size += length
        self._text_length += length
        if self._size > MAX_ANSWER_CHARACTERS:
            self._weigh(0)
        self._text.append(text)
        self._deltas.append(TextDelta(text))

    def _think(self, text: str) -> None:
        """Grow the model's reasoning."""
        self._weigh(len(text))
        self._reasoning.append(text)
        self._deltas.append(ReasoningDelta(text))

    def _place(self) -> StreamPlace:
        return StreamPlace(self._text_length, len(self._calls))

    def _keep(self, raw: dict[str, Any], place: StreamPlace | None = None) -> None:
        """Keep a block that the provider will want back, here or at an earlier place."""
        where = place or self._place()
        self._blocks.append(ProviderBlock(wire=self.WIRE, raw=raw, **where._asdict()))

    def _serve(self, tier: object) -> None:
        """Take note of the service tier that serves the call, if that is what this is."""
        if isinstance(tier, str) and tier:
            self._tier = tier[:MAX_TIER_CHARACTERS].lower()

    def _ends(self, word: str | None) -> None:
        """Take the word for the end, if it is one; whether it settles the answer remains open."""
        if (ending := finish_words.ending(self.WIRE, word)) is not None:
            self._ends_as(ending, word)

    def _ends_as(self, ending: Ending, word: str | None) -> None:
        self._settling.tell(ending, word or None, self._progress())

    def _closes(self, word: str | None, wordless: Ending = UNSURE) -> None:
        """Take the end itself, where the format marks it, with its word or without any."""
        self._ends_as(finish_words.ending(self.WIRE, word) or wordless, word)
        self._settling.seal()

    def _account(self, usage: Mapping[str, Any]) -> None:
        """Take in what the provider says it has used until now."""
        self._usage = merged(self._usage, usage) if self._usage else usage
        self._counted_at = len(self._text)

    def _overrule(self, usage: Mapping[str, Any] | None) -> None:
        """Take in what is billed, by the word of whoever bills it, larger or smaller."""
        told = {name: count for name, count in (usage or {}).items() if counts.at(usage, name)}
        self._account(told)
        self._usage = {**(self._usage or {}), **told}

    def _accounted(self, *, alone: bool = False) -> None:
        """Say that the event with the accounts is read, and whether it held nothing else."""
        self._counted_at = len(self._text)
        if alone:
            self._settling.account()

    def _progress(self) -> SettlingProgress:
        return SettlingProgress(
            len(self._text), len(self._reasoning), len(self._calls), self._calls.size
        )

    def _weigh(self, characters: int) -> None:
        self._size += characters
        if self._size > MAX_ANSWER_CHARACTERS:
            raise fault("provider_error", "The provider's answer is too large.", retryable=False)

    # The run of events

    def _take(self, events: Iterable[E], *, at_end: bool) -> None:
        for event in events:
            if self.done:
                return
            self.steps += 1
            try:
                self._event(event)
            except GarbledError as error:
                # Half an event at the cut says nothing about an answer that was already whole.
                if not (at_end and self.whole):
                    self._pass_over(error)

    def _pass_over(self, error: GarbledError) -> None:
        """Go on behind an unreadable event, for the good ones behind it; the call will fail."""
        self._garbled += 1
        if self._garbled > MAX_GARBLED:
            raise error
        self._fault = self._fault or error

    def _fail(self, error: ProviderFaultError) -> None:
        self._fault = error
        self.done = True

    def _counted(self, quality: Quality) -> Usage:
        standing = UsageStanding(
            quality,
            is_said=bool(self._text or self._reasoning or len(self._calls)),
            is_last=self._counted_at == len(self._text),
            guess=self._guess,
        )
        return believed(self._usage, self.SHAPE, self._buckets, standing)

    def _guess(self) -> Usage:
        text, reasoning = "".join(self._text), "".join(self._reasoning)
        return estimate.usage(self._request, text, reasoning, self._calls.finished())
