"""What is found in a net, in the order in which it was looked at. Pure."""

from collections.abc import Iterable
from typing import Literal

from schemas.workflows import NetFinding

MOST_FINDINGS = 100
MOST_WITNESS = 64
"""Steps of a run that shows a finding; of a longer one its last are told."""


class NetFindings:
    """Collects findings. One place is told of the same once, and there are at most a hundred."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], NetFinding] = {}

    @property
    def refused(self) -> bool:
        """Whether an error was found."""
        return any(one.severity == "error" for one in self._found.values())

    @property
    def any(self) -> bool:
        """Whether anything was found that puts the proof in doubt."""
        return bool(self._found)

    def all(self) -> list[NetFinding]:
        """Return what was found, errors first."""
        order = ("error", "unproved", "warning")
        return sorted(self._found.values(), key=lambda one: order.index(one.severity))

    def error(self, code: str, path: str, message: str, witness: Iterable[str] = ()) -> None:
        """Note what refuses the definition."""
        self._add("error", code, path, message, witness)

    def warning(self, code: str, path: str, message: str, witness: Iterable[str] = ()) -> None:
        """Note what may be meant, but is probably a mistake."""
        self._add("warning", code, path, message, witness)

    def unproved(self, code: str, path: str, message: str) -> None:
        """Note what was not looked at to its end."""
        self._add("unproved", code, path, message, ())

    def _add(
        self,
        severity: Literal["error", "warning", "unproved"],
        code: str,
        path: str,
        message: str,
        witness: Iterable[str],
    ) -> None:
        if (code, path) in self._found or len(self._found) >= MOST_FINDINGS:
            return
        run = list(witness)
        if len(run) > MOST_WITNESS:
            run = ["…", *run[-MOST_WITNESS:]]
        self._found[code, path] = NetFinding(
            code=code, severity=severity, path=path, message=message, witness=run
        )
