"""Runs modules as ``python -m`` would, in processes that share what they all import.

Started as ``python -m actors.fleet.fork_server MODULE…``: it imports these modules once, and then
forks at each request that arrives on the socket that is its standard input. Imports are most of the
time a process takes to start, and most of its memory; forked, they cost both once.

A request is its length (4 bytes), the number of arguments, these, and the variables, all separated
by NULs; with it come two file descriptors: the output of the process, and a pipe on which the
server writes its id and, when it has ended, its return code (8 bytes each). The server ends when
nobody holds the other end of the socket, and its processes get SIGTERM when it ends.
"""

import ctypes
import gc
import os
import runpy
import select
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from actors.fleet.forks import LENGTH_BYTES, NUMBER_BYTES
from bus.server.guard import PR_SET_PDEATHSIG

OUT_AND_STATUS = 2
ARGUMENTS = slice(45, 47)
"""Where ``/proc/<pid>/stat`` has the arguments' addresses, counted from the state: see proc(5)."""


class _Job(NamedTuple):
    """What a forked process is to be."""

    argv: list[str]
    environ: dict[str, str]
    output: int
    status: int


def main() -> None:
    """Import the modules of the command line, and fork until nobody asks any more."""
    for name in sys.argv[1:]:
        import_module(name)
    # What is never collected is never written to, and stays shared.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as requests:
        job = _serve(requests)
    if job is not None:
        _become(job)


def _serve(requests: socket.socket) -> _Job | None:
    """Fork at each request; return what a fork is to be, None in the server in the end."""
    ended, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _wake)
    born: dict[int, int] = {}
    server = os.getpid()
    while True:
        told, _, _ = select.select([requests, ended], [], [])
        if ended in told:
            os.read(ended, select.PIPE_BUF)
            _bury(born)
        if requests not in told:
            continue
        job = _receive(requests)
        if job is None:
            return None
        pid = os.fork()
        if pid == 0:
            _leave(server, [ended, wakes, *born.values()])
            return job
        os.close(job.output)
        born[pid] = job.status
        _tell(job.status, pid)


def _wake(*_: object) -> None:
    """Be a handler: only for a signal that has one the descriptor above is written to."""


def _receive(requests: socket.socket) -> _Job | None:
    head, descriptors, _, _ = socket.recv_fds(requests, LENGTH_BYTES, OUT_AND_STATUS)
    if not head:
        return None
    body = requests.recv(int.from_bytes(head), socket.MSG_WAITALL)
    count, *rest = map(os.fsdecode, body.split(b"\0"))
    variables = (part.partition("=") for part in rest[int(count) :])
    environ = {name: value for name, _, value in variables}
    return _Job(rest[: int(count)], environ, *descriptors)


def _bury(born: dict[int, int]) -> None:
    """Tell the return codes of all that have ended."""
    while born:
        pid, code = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        status = born.pop(pid)
        _tell(status, os.waitstatus_to_exitcode(code))
        os.close(status)


def _tell(status: int, value: int) -> None:
    try:
        os.write(status, value.to_bytes(NUMBER_BYTES, signed=True))
    except BrokenPipeError:
        # Who asked listens no more; the process lives on, as any child would.
        return


def _leave(server: int, descriptors: list[int]) -> None:
    """Let go of all that is the server's, and die with it."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in descriptors:
        os.close(descriptor)
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != server:
            sys.exit("the parent is gone")


def _become(job: _Job) -> None:
    """Run a module as the main one, with the arguments, variables and output of the request."""
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(job.output, 1)
    os.dup2(job.output, 2)
    os.close(job.output)
    os.close(job.status)
    os.environ.clear()
    os.environ.update(job.environ)
    module, *_ = sys.argv = job.argv
    if sys.platform == "darwin":
        # Its system libraries do not work in a fork that has not become another program.
        os.execv(sys.executable, [sys.executable, "-m", *job.argv])  # noqa: S606
    _show_as([sys.executable, "-m", *job.argv])
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _show_as(argv: list[str]) -> None:
    """Let the system's list of processes show these arguments, as far as there is room."""
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii")
    except OSError:
        return
    begin, end = map(int, stat.rpartition(")")[2].split()[ARGUMENTS])
    room = end - begin
    shown = b"".join(each.encode() + b"\0" for each in argv)[: room - 1]
    ctypes.memmove(begin, shown.ljust(room, b"\0"), room)


if __name__ == "__main__":
    main()
