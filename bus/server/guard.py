"""Becomes the program in its arguments, after asking Linux to end it when the parent dies.

Run as a script by an isolated interpreter: ``guard.py <pid of the parent> <program> <arguments…>``.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Replace this process by ``command``. Elsewhere than on Linux the two lives stay apart."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit("the parent is gone")
    os.execv(command[0], command)  # noqa: S606  the whole point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
