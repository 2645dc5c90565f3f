"""The key that signs who may connect to nats-server, in a file that is its user's alone."""

import os
from pathlib import Path

from bus import files
from bus.errors import ConfigError, ProblemError
from bus.security.nkeys import KeyPair

FILE_SETTING = "CALLBOARD_ISSUER_FILE"
MOST_BYTES = 1024


def create(path: Path) -> KeyPair:
    """Make a key and write its seed to a new file, which only its user may read.

    Raises:
        ProblemError: ``validation``: the file stands already, or cannot be written.
    """
    pair = KeyPair.of(os.urandom(32), "account")
    files.create(path, f"{pair.seed}\n")
    return pair


def issuer_of(path: Path) -> KeyPair:
    """Read the key in a file.

    Raises:
        ConfigError: it cannot be read, others may read it, or it holds no seed of an account.
    """
    try:
        text = files.read(path, most=MOST_BYTES).decode("ascii", errors="replace")
        mode = path.stat().st_mode
    except (ProblemError, OSError) as error:
        raise ConfigError(FILE_SETTING, str(error)) from None
    if mode & 0o077:
        raise ConfigError(FILE_SETTING, f"others may read {path}: chmod 600 it")
    pair = KeyPair.from_seed(text)
    if pair is None or not pair.public.startswith("A"):
        raise ConfigError(FILE_SETTING, f"{path} holds no seed: `callboard nats issuer` writes one")
    return pair
