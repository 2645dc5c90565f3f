"""The life of a session, and for whom it is: a state machine without clock or I/O.

::

    absent ──want──▶ opening ──opened──▶ open ──lost / drain──▶ absent
                        └──failed──▶ absent

A key has one session at most that is opening or open. Each that was opened has a number, its
incarnation, by which calls report that it is lost: however many do, it is opened anew once.
"""

from typing import Literal, NamedTuple

from schemas.tool_servers import Sharing

Step = Literal["open", "wait", "use"]


class SessionKey(NamedTuple):
    """Who may share a session of a replica: those of one credential and one affinity."""

    credential: str
    affinity: str = ""


def affinity_of(
    sharing: Sharing, *, stateless: bool | None, tenant: str, agent: str, execution: str
) -> str:
    """Return what the session of a call is kept for; empty is everyone.

    Where it is not known yet whether a server is ``stateless``, it counts as one that is not.
    """
    match sharing:
        case "shared":
            return ""
        case "execution":
            return f"{tenant}/{agent}/{execution}"
        case "agent":
            return f"{tenant}/{agent}"
        case "auto":
            return "" if stateless else f"{tenant}/{agent}"


class SessionLife:
    """The state of one key. Whoever is told ``open`` must report ``opened`` or ``failed``."""

    def __init__(self) -> None:
        self.state: Literal["absent", "opening", "open"] = "absent"
        self.incarnation = 0

    def want(self) -> Step:
        """Say what a call has to do that needs the session: one of those that wait opens it."""
        match self.state:
            case "open":
                return "use"
            case "opening":
                return "wait"
            case "absent":
                self.state = "opening"
                return "open"

    def opened(self) -> int:
        """Note that it is open, and return its incarnation."""
        self.state = "open"
        self.incarnation += 1
        return self.incarnation

    def failed(self) -> None:
        """Note that it could not be opened."""
        self.state = "absent"

    def leave(self, incarnation: int) -> bool:
        """Note that an incarnation is lost, or is to end; say whether that was not known."""
        if self.state != "open" or incarnation != self.incarnation:
            return False
        self.state = "absent"
        return True
