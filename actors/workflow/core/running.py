"""A net that is run: transitions take tokens, actions begin and end, and each step is noted. Pure.

What is decided here changes the open marking by steps alone, so that the steps lead to the same
marking wherever they are applied.
"""

from datetime import datetime
from typing import Any

import msgspec

from actors.workflow.core import failures
from actors.workflow.core.compiling import CompiledAction, CompiledNet, CompiledTransition
from actors.workflow.core.enabling import Binding, binding, overfull
from actors.workflow.core.mapping import answered
from actors.workflow.core.scratch import Lying, Scratch, changed
from actors.workflow.core.spreading import Spread, merged, oversized, spread, transformed
from actors.workflow.core.steps import (
    ActionAgain,
    ActionBegun,
    ActionEnded,
    ActionFailed,
    ActionPutOff,
    Fired,
    Moved,
    NetFailed,
    Step,
    TokenChange,
)
from actors.workflow.core.tokens import MOST_HOPS, MOST_UNDO, AgentRuns, Firing, Marking, Undo
from schemas.nets import PlaceAgentConfig
from schemas.problems import Problem


class Running:
    """An open marking with the steps that have been made on it.

    ``dirty`` are the transitions, by rank, that may be enabled and have not been looked at since,
    ``visited`` the places with agents of which the same is true.
    """

    __slots__ = ("dirty", "net", "scratch", "steps", "visited")

    def __init__(self, net: CompiledNet, marking: Marking, now: datetime) -> None:
        self.net = net
        self.scratch = Scratch(marking, now)
        self.steps: list[Step] = []
        self.dirty: int = net.auto
        self.visited: dict[str, None] = dict.fromkeys(net.hosts)

    def note(self, step: Step) -> None:
        """Take a step."""
        self.scratch.apply(step)
        self.steps.append(step)
        for place in self.scratch.touched:
            self.dirty |= self.net.touch.get(place, 0)
            if place in self.net.hosts:
                self.visited[place] = None
        self.scratch.touched.clear()
        if self.scratch.cramped or self.net.is_bounded:
            self.dirty |= self.net.growing

    def new_id(self) -> str:
        """Return the name of a new token, firing or group."""
        number = self.scratch.next_id
        self.scratch.next_id = number + 1
        return str(number)

    # Transitions

    def take(self, transition: CompiledTransition, found: Binding, *, rested: bool = False) -> None:
        """Let a transition fire with the tokens found; ``rested`` says that it was told to."""
        first = found.taken[0]
        if first.hops >= MOST_HOPS and not rested:
            self.note(NetFailed(problem=runaway(transition)))
            return
        if transition.is_move and not rested:
            target = transition.targets[0]
            self.note(Moved(transition=transition.id, token=first.id, place=target))
            return
        change = msgspec.structs.replace(merged(transition, found.taken), rested=rested)
        view = changed(first, change, self.scratch.at)
        if found.is_short:
            told = f"of the tokens of its group only {len(found.taken)} have come"
            self._refuse(transition, found, change, Problem(code="timeout", message=told))
        elif transition.action is None:
            self._exchange(transition, found, change, view)
        else:
            self._begin(transition, transition.action, found, change, view)

    def _exchange(
        self, transition: CompiledTransition, found: Binding, change: TokenChange, view: Lying
    ) -> None:
        whole = transformed(transition, change, view)
        puts = whole if isinstance(whole, Problem) else self._spread(transition, found, whole)
        if isinstance(puts, Problem):
            self._refuse(transition, found, change, puts)
            return
        self.note(
            Fired(
                transition=transition.id,
                taken=_names(found),
                base=puts.base,
                puts=puts.puts,
                cancelled=found.cancelled,
                stopped=found.stopped,
                why=found.why,
            )
        )

    def _spread(
        self, transition: CompiledTransition, found: Binding, change: TokenChange
    ) -> Spread | Problem:
        return spread(transition, found.taken[0], change, self.scratch.at, self.new_id)

    def _begin(
        self,
        transition: CompiledTransition,
        action: CompiledAction,
        found: Binding,
        change: TokenChange,
        view: Lying,
    ) -> None:
        asked = action.request(view)
        until = failures.deadline(action.definition, view, self.scratch.at)
        for problem in (asked, until, self._undoable(transition)):
            if isinstance(problem, Problem):
                self._refuse(transition, found, change, problem)
                return
        firing = self._hold(transition, found, change, asked, until)
        if action.is_instant:
            self.finish(firing, {})

    def _undoable(self, transition: CompiledTransition) -> Problem | None:
        if transition.compensation is None or len(self.scratch.undo) < MOST_UNDO:
            return None
        told = f"more than {MOST_UNDO} steps would have to be undone"
        return Problem(code="validation", message=told)

    def _refuse(
        self,
        transition: CompiledTransition,
        found: Binding,
        change: TokenChange,
        problem: Problem,
    ) -> None:
        """Let a transition fail before it has asked anything."""
        firing = self._hold(transition, found, change, None, None)
        self.settle(self.scratch.firings[firing], problem)

    def _hold(
        self,
        transition: CompiledTransition,
        found: Binding,
        change: TokenChange,
        request: Any,
        deadline: Any,
    ) -> str:
        name = self.new_id()
        self.note(
            ActionBegun(
                transition=transition.id,
                firing=name,
                taken=_names(found),
                cancelled=found.cancelled,
                stopped=found.stopped,
                token=change,
                request=request,
                deadline=deadline,
            )
        )
        return name

    # Ends of actions

    def finish(self, name: str, answer: dict[str, Any]) -> Problem | None:
        """Let a firing end well, with the answer that its output mapping reads."""
        firing = self.scratch.firings.get(name)
        if firing is None:
            return _unknown(name)
        action = self.net.action_of(firing)
        sets = answered(action.output_mapping, answer) if action is not None else {}
        if firing.kind == "place":
            self.end_place(firing, sets)
        elif firing.kind == "undo" or firing.token is None:
            self.note(ActionEnded(firing=name))
        else:
            rested = isinstance(action, failures.RESTING)
            change = TokenChange(id=firing.token.id, sets=sets, rested=rested)
            problem = self._conclude(firing, firing.token, change)
            if problem is not None:
                self.settle(firing, problem)
        return None

    def _conclude(
        self, firing: Firing, token: Lying, change: TokenChange, failed: Problem | None = None
    ) -> Problem | None:
        """Put what a transition puts at the end of its action, also where that has failed."""
        transition = self.net.by_id[firing.name]
        at = self.scratch.at
        first_id = self.scratch.next_id
        puts = spread(transition, token, change, at, self.new_id)
        if isinstance(puts, Problem):
            return puts
        places = [each.place for each in puts.puts if each.place is not None]
        full = overfull(self.net, self.scratch, firing.name, places)
        if full is not None:
            # Steps that are not made number nothing.
            self.scratch.next_id = first_id
            return full
        if failed is not None:
            self.note(
                ActionFailed(
                    firing=firing.id, problem=failed, then="pass", base=puts.base, puts=puts.puts
                )
            )
            return None
        undo = self._undo(transition, changed(token, change, at))
        self.note(ActionEnded(firing=firing.id, base=puts.base, puts=puts.puts, undo=undo))
        return None

    def _undo(self, transition: CompiledTransition, view: Lying) -> Undo | None:
        if transition.compensation is None:
            return None
        asked = transition.compensation.request(view)
        request = {} if isinstance(asked, Problem) else asked
        return Undo(transition=transition.id, request=request)

    def fail(self, name: str, problem: Problem) -> Problem | None:
        """Let an attempt fail: it is made again, or its policy says what becomes of the token."""
        firing = self.scratch.firings.get(name)
        if firing is None or firing.problem is not None:
            return _unknown(name)
        action = self.net.action_of(firing)
        at = failures.retry_at(action, firing, problem, self.scratch.at)
        if problem.code == "timeout" and failures.is_escalated(action, firing):
            self.again(firing)
        elif at is not None:
            self.note(ActionPutOff(firing=name, problem=problem, retry_at=at))
        else:
            self.settle(firing, problem)
        return None

    def settle(self, firing: Firing, problem: Problem, *, skips: bool = False) -> None:
        """Do with a firing that has failed for good what its policy says."""
        if firing.kind == "undo" or firing.token is None:
            self.note(ActionFailed(firing=firing.id, problem=problem, then="pass"))
        elif firing.kind == "place":
            self._fail_place(firing, problem, skips=skips)
        else:
            self._fail_action(firing, firing.token, problem, skips=skips)

    def _fail_action(self, firing: Firing, token: Lying, problem: Problem, *, skips: bool) -> None:
        action = self.net.action_of(firing)
        sets = {f"data.errors.{firing.name}": failures.told(problem)}
        if skips or (action is not None and not action.required):
            change = TokenChange(id=token.id, sets=sets)
            further = self._conclude(firing, token, change, problem)
            if further is None:
                return
            problem = further
        policy = self.net.by_id[firing.name].definition.on_error
        # Where an effect may have been, or not, a person decides rather than the instance ends.
        is_unsure = problem.code == "outcome_unknown" and policy.then == "fail" and not skips
        if policy.then == "pause" or is_unsure:
            self.note(ActionFailed(firing=firing.id, problem=problem, then="pause"))
        elif policy.then == "route" and policy.to_place is not None:
            put = TokenChange(id=token.id, place=policy.to_place, sets=sets)
            self.note(ActionFailed(firing=firing.id, problem=problem, then="route", puts=(put,)))
        else:
            self._give_up(firing, token, problem, undoes=policy.then == "compensate")

    def _give_up(self, firing: Firing, token: Lying, problem: Problem, *, undoes: bool) -> None:
        # The token goes back where it was, for whoever looks at the failure.
        put = TokenChange(id=token.id, place=token.place)
        then = "compensate" if undoes else "fail"
        self.note(ActionFailed(firing=firing.id, problem=problem, then=then, puts=(put,)))
        if not undoes:
            self.note(NetFailed(problem=problem))

    def again(self, firing: Firing) -> None:
        """Begin another attempt."""
        compiled, token = self.net.compiled_action(firing), firing.token
        if compiled is None:
            if token is not None:
                problem = self._conclude(firing, token, TokenChange(id=token.id))
                if problem is not None:
                    self.settle(firing, problem)
            return
        asked = None
        if firing.request is None and token is not None:
            asked = compiled.request(token)
        until = failures.deadline(compiled.definition, token, self.scratch.at)
        for problem in (asked, until):
            if isinstance(problem, Problem):
                self.settle(firing, problem)
                return
        self.note(ActionAgain(firing=firing.id, request=asked, deadline=until))  # pyright: ignore[reportArgumentType]  no problems are left

    # Agents of places

    def end_place(
        self, firing: Firing, sets: dict[str, Any], failed: Problem | None = None
    ) -> None:
        """End the run of a place's agent, and let its transition fire if it can."""
        token = self.scratch.tokens.get(firing.token.id) if firing.token else None
        if token is None:
            return
        runs = token.runs.get(str(firing.agent))
        count = (runs.count if runs else 0) + 1
        ran = {str(firing.agent): AgentRuns(count=count, at=self.scratch.at)}
        change = TokenChange(id=token.id, sets=sets, runs=ran)
        problem = oversized(changed(token, change, self.scratch.at)) if sets else None
        if problem is not None:
            change = TokenChange(id=token.id, runs=ran)
        failed = failed or problem
        if failed is None:
            self.note(ActionEnded(firing=firing.id, puts=(change,)))
        else:
            put = (change,)
            self.note(ActionFailed(firing=firing.id, problem=failed, then="pass", puts=put))
        action = self.net.action_of(firing)
        name = action.auto_transition if isinstance(action, PlaceAgentConfig) else None
        transition = self.net.by_id.get(name or "")
        if transition is not None:
            found = binding(self.net, self.scratch, transition, token.id)
            if found is not None:
                self.take(transition, found)

    def _fail_place(self, firing: Firing, problem: Problem, *, skips: bool) -> None:
        action = self.net.action_of(firing)
        if not skips and action is not None and action.required:
            self.note(ActionFailed(firing=firing.id, problem=problem, then="pause"))
            return
        sets = {f"data.errors.{firing.name}": failures.told(problem)}
        self.end_place(firing, sets, problem)


def _names(found: Binding) -> tuple[str, ...]:
    return tuple(token.id for token in found.taken)


def _unknown(name: str) -> Problem:
    return Problem(code="conflict", message=f"no action runs as {name}", field="firing")


def runaway(transition: CompiledTransition) -> Problem:
    """Return the problem of a token that moves without end."""
    return Problem(
        code="validation",
        message=f"a token has moved {MOST_HOPS} times without a wait, at last by {transition.id}",
    )
