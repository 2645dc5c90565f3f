"""What the calls of a process have in common: waits are told, and failures logged."""

from structlog.testing import capture_logs

from actors.streaming.core.resilience.health import Health, HealthLine
from actors.streaming.flow.switchboard import CircuitQuestion, HeardCircuits, Switchboard
from schemas.problems import Problem

LIMITED = Problem(code="rate_limited", message="slowly", retryable=True, retry_after=0.02)
REFUSED = Problem(
    code="unauthorized",
    message="The provider does not accept the key.",
    details={"status": 401, "provider_code": "invalid_api_key"},
)


class Asking:
    """Asks one endpoint again and again, and notes what it is told."""

    def __init__(self, *answers: Problem | None) -> None:
        self.health = Health("openai api.example.com gpt-x")
        self.waits: list[str] = []
        self._answers = list(answers)

    async def ask(self) -> Problem | None:
        """Put the next question."""
        question = CircuitQuestion(
            health=self.health,
            keys=("first",),
            put=self._put,
            tokens=lambda: 0,
            waiting=self._waits,
        )
        return await Switchboard().ask(question)

    async def _put(self, line: HealthLine) -> HeardCircuits:
        del line
        return HeardCircuits(self._answers.pop(0), {})

    async def _waits(self, code: str, seconds: float) -> None:
        self.waits.append(code)
        assert 0 < seconds <= 0.02


async def test_a_call_that_fails_is_a_line_that_names_endpoint_key_and_status():
    asking = Asking(REFUSED, None)
    with capture_logs() as lines:
        await asking.ask()
    (line,) = lines
    assert line.pop("ms") >= 0
    assert line == {
        "event": "call.failed",
        "log_level": "warning",
        "endpoint": "openai api.example.com gpt-x",
        "key": "first",
        "code": "unauthorized",
        "status": 401,
        "provider_code": "invalid_api_key",
        "reason": "The provider does not accept the key.",
        "retryable": False,
        "retry_after": None,
    }


async def test_a_brief_wait_for_a_key_is_told_before_it_begins():
    asking = Asking(LIMITED, None)
    assert await asking.ask() == LIMITED
    assert await asking.ask() is None
    assert asking.waits == ["rate_limited"]
