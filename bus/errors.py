"""Every error the bus raises, drawn as a tree.

CallboardError
├── ConfigError            the process cannot start; exits with 78
├── ProblemError           a request is refused; carries the Problem for the user
├── TransientError         try again later
│   ├── UnavailableError   nobody there, or the outcome is unknown
│   │   ├── NobodyListensError   nobody there for certain, so nothing has happened
│   │   └── FullError            no room for it, so nothing was stored
│   └── DeadlineError      no answer in time
├── FencedError            another owner has written to the shard
├── CorruptJournalError    a shard's commits have a gap or cannot be read
├── ClockError             this process's clock is not the server's
├── StateVersionError      a shard was written by a newer version of its entity
└── DriftError             a stream on the server differs from its specification
"""

from schemas.problems import Problem, ProblemCode


class CallboardError(Exception):
    """The root of all errors raised by Callboard."""


class ConfigError(CallboardError):
    """A setting is missing or wrong. ``name`` is the setting."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class ProblemError(CallboardError):
    """A request is refused or failed for the reason its ``problem`` gives."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.message}")
        self.problem = problem

    def said(self) -> str:
        """Return what is wrong, and where: ``message (field)``."""
        where = f" ({self.problem.field})" if self.problem.field else ""
        return f"{self.problem.message}{where}"


class TransientError(CallboardError):
    """The same call may succeed later."""


class UnavailableError(TransientError):
    """Nobody listens on the subject, or the outcome of the call is unknown."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(f"{subject}: {reason}")
        self.subject = subject
        self.reason = reason


class NobodyListensError(UnavailableError):
    """Nobody listens on the subject: the message went nowhere."""

    def __init__(self, subject: str) -> None:
        super().__init__(subject, "nobody listens")


class FullError(UnavailableError):
    """A store that keeps what it has is full: nothing of this was stored."""


class DeadlineError(TransientError):
    """No answer came in time. ``seconds`` is how long the caller waited."""

    def __init__(self, subject: str, seconds: float) -> None:
        super().__init__(f"{subject}: no answer in {seconds:g} s")
        self.subject = subject
        self.seconds = seconds


class FencedError(CallboardError):
    """An append was refused because the subject's last sequence is not the expected one."""

    def __init__(self, subject: str, expected: int) -> None:
        super().__init__(f"{subject}: last sequence is not {expected}")
        self.subject = subject
        self.expected = expected


class ClockError(CallboardError):
    """The clock of this process is wrong by the server's. ``ahead`` is in seconds."""

    def __init__(self, subject: str, ahead: float) -> None:
        word = "ahead of" if ahead > 0 else "behind"
        super().__init__(f"{subject}: the clock here is {abs(ahead):.0f} s {word} the server's")
        self.subject = subject
        self.ahead = ahead


class CorruptJournalError(CallboardError):
    """A journal cannot be replayed: a commit is missing or unreadable."""

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(f"{subject}: {reason}")
        self.subject = subject
        self.reason = reason


class StateVersionError(CallboardError):
    """A shard holds state of a version that this process does not know."""

    def __init__(self, subject: str, found: int, known: int) -> None:
        super().__init__(
            f"{subject}: written by version {found} of its entity, and this process knows versions "
            f"up to {known}; start a newer one"
        )
        self.subject = subject
        self.found = found
        self.known = known


class DriftError(CallboardError):
    """A stream stands on the server with other settings than its specification."""

    def __init__(self, stream: str, differences: dict[str, tuple[object, object]]) -> None:
        listing = ", ".join(
            f"{field} is {found!r}, not {wanted!r}"
            for field, (found, wanted) in differences.items()
        )
        super().__init__(f"{stream}: {listing}")
        self.stream = stream
        self.differences = differences


def problem(
    code: ProblemCode, message: str, *, field: str | None = None, retryable: bool = False
) -> ProblemError:
    """Build the error that refuses a request with this problem."""
    return ProblemError(Problem(code=code, message=message, field=field, retryable=retryable))
