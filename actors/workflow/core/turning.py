"""A turn under way: what is decided on one command, step by step, on a state of its own. Pure."""

from datetime import datetime

from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.evolving import stepped, turned
from actors.workflow.core.firing import Run
from actors.workflow.core.messages import RunBegan, RunCommand, RunStep
from actors.workflow.core.state import WorkflowInstance


class Turning:
    """The steps so far, and the state that they lead to.

    What the net is told (``run``) counts when it is taken in by ``flush``.
    """

    __slots__ = ("_run", "now", "state", "steps")

    def __init__(self, state: WorkflowInstance, now: datetime) -> None:
        self.state = state
        self.now = now
        self.steps: list[RunStep] = []
        self._run: Run | None = None

    @classmethod
    def beginning(cls, began: RunBegan, now: datetime) -> "Turning":
        """Begin the first turn of an instance."""
        turn = cls(stepped(None, began, now), now)
        turn.steps.append(began)
        return turn

    @property
    def net(self) -> CompiledNet:
        """The net that counts."""
        return self.state.compiled

    @property
    def run(self) -> Run:
        """The marking, open for changes."""
        if self._run is None:
            self._run = Run(self.net, self.state.marking, self.now)
        return self._run

    def under(self, net: CompiledNet) -> Run:
        """Return the marking, open for changes under another net."""
        self._run = Run(net, self.state.marking, self.now)
        return self._run

    def flush(self) -> bool:
        """Let the net go on as far as it can, and take in what has changed; say if anything has."""
        run = self.run
        if not self.state.suspended:
            run.advance()
        event = run.event()
        self._run = None
        if event is None:
            return False
        self.add(event)
        return True

    def add(self, *steps: RunStep) -> None:
        """Take steps, and apply them."""
        for step in steps:
            self.state = stepped(self.state, step, self.now)
            self.steps.append(step)

    def after(self, cause: RunCommand) -> WorkflowInstance:
        """Return the state that the turn leaves."""
        return turned(self.state, self.steps, self.now, cause)
