"""Which file a process may write: its own copy, locked for as long as it lives.

Copies are numbered. A process takes the first that nobody has, so that one which is started again
goes on where its predecessor stopped, and a second process beside it makes a copy of its own. The
lock belongs to the open file: however a process ends, the system lets it go.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bus.errors import ConfigError

MOST_COPIES = 64


@contextmanager
def claimed(directory: Path, name: str) -> Generator[Path]:
    """Hold the first free file of a projection below ``directory`` while the context is open.

    Raises:
        ConfigError: the directory cannot be written, or has as many processes as it may.
    """
    descriptor, path = _claim(directory, name)
    try:
        yield path
    finally:
        os.close(descriptor)


def _claim(directory: Path, name: str) -> tuple[int, Path]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for number in range(MOST_COPIES):
            lock = directory / f"{name}.{number}.lock"
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _locked(descriptor):
                return descriptor, lock.with_suffix(".sqlite3")
            os.close(descriptor)
    except OSError as error:
        raise ConfigError("CALLBOARD_DATA", f"{directory}: {error.strerror}") from None
    raise ConfigError("CALLBOARD_DATA", f"{MOST_COPIES} processes have {name} in {directory}")


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
