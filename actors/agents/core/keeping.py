"""For how long an execution that has ended is kept. Pure."""

from datetime import datetime, timedelta

from actors.agents.core.state import Execution


def expires_at(state: Execution) -> datetime | None:
    """Return when an ended execution is forgotten, where that is sooner than records are."""
    kept, ended_at = state.origin.kept, state.ended_at
    return ended_at + timedelta(seconds=kept) if kept is not None and ended_at else None


def is_gone(state: Execution, now: datetime) -> bool:
    """Say whether an execution is deleted, or was kept for as long as it was to be."""
    until = expires_at(state)
    return state.deleted_at is not None or (until is not None and until <= now)
