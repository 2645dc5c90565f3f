"""Processes of MCP servers, each with its descendants: wrappers such as npx leave some behind."""

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.abc import Process

INHERITED = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
"""Variables that a server is given besides those named for it: none holds a secret."""

GRACE_SECONDS = 2.0
"""What a process has to end after its input was closed, and again after SIGTERM."""

KILL_SECONDS = 1.0
_LOOK_SECONDS = 0.01
_STEPS = ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS))
_AT_ONCE = ((signal.SIGKILL, 0.0),)
_ZOMBIE = "Z"
_STATE, _PARENT, _GROUP, _SESSION, _BEGAN = 0, 1, 2, 3, 19
"""Places in ``/proc/<pid>/stat`` behind the name (man 5 proc)."""


class ProcessId(NamedTuple):
    """A process, told by its beginning from a later one with the same number."""

    pid: int
    began: int


class Lineage(NamedTuple):
    """Where a process comes from: the numbers of its parent, group and session."""

    parent: int
    group: int
    session: int


async def started(command: Iterable[str], env: Mapping[str, str]) -> Process:
    """Start a server in a session and process group of its own; its error output is dropped.

    Raises:
        OSError: it cannot be started.
        ValueError: a part of the command holds a null character.
    """
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return await anyio.open_process(
        list(command),
        env={**inherited, **env},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


async def ended(process: Process, *, at_once: bool) -> None:
    """End a server and its descendants.

    Its input is closed first, then it is asked, then killed. ``at_once``: it is only killed.
    """
    family = descendants(process.pid)
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        if process.stdin is not None:
            await process.stdin.aclose()
    for sign, grace in _AT_ONCE if at_once else _STEPS:
        await _over(process, grace)
        family |= descendants(process.pid)
        if process.returncode is not None and not family & running().keys():
            break
        _signal(process, family, sign)
    await _over(process, KILL_SECONDS)
    if process.stdout is not None:
        await process.stdout.aclose()
    with anyio.move_on_after(KILL_SECONDS):
        await process.wait()


def descendants(pid: int) -> set[ProcessId]:
    """Return a process and what it has started, as far as the system (Linux) tells.

    One that has left its group and lost its parent cannot be told from others.
    """
    known, table = {pid}, running()
    found: set[ProcessId] = set()
    while True:
        more = {
            each
            for each, lineage in table.items()
            if each not in found and (each.pid in known or not known.isdisjoint(lineage))
        }
        if not more:
            return found
        found |= more
        known |= {each.pid for each in more}


def running() -> dict[ProcessId, Lineage]:
    """Return the processes of this machine that have not ended; none where it does not tell."""
    found: dict[ProcessId, Lineage] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        # It may have ended since it was listed.
        with suppress(OSError):
            text = path.read_text(encoding="utf-8", errors="replace")
            fields = text.rpartition(")")[2].split()
            if fields[_STATE] != _ZOMBIE:
                parent, group, session = (int(fields[at]) for at in (_PARENT, _GROUP, _SESSION))
                each = ProcessId(int(path.parent.name), int(fields[_BEGAN]))
                found[each] = Lineage(parent, group, session)
    return found


async def _over(process: Process, seconds: float) -> None:
    """Wait for the end of the process itself; ``wait`` would wait for its pipes as well."""
    for _ in range(round(seconds / _LOOK_SECONDS)):
        if process.returncode is not None:
            return
        await anyio.sleep(_LOOK_SECONDS)


def _signal(process: Process, family: set[ProcessId], sign: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
    for each in family & running().keys():
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each.pid, sign)
