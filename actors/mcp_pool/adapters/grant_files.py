"""Tokens that a person has obtained by logging in: a file for each server, its user's alone.

They are as good as passwords and must outlive processes, since a refresh token may be used once. So
a file is replaced as a whole, and who refreshes holds its lock: two pools that share the directory
never spend the same refresh token.
"""

import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Protocol

import anyio
import anyio.to_thread

from actors.mcp_pool.core.oauth import OauthError
from actors.mcp_pool.core.oauth_grants import OauthGrant
from bus import files
from bus.codec import encode
from bus.errors import ProblemError

FOLDER = "mcp-logins"
MAX_GRANT_BYTES = 64 * 1024
LOCK_SECONDS = 40.0
_LOOK_SECONDS = 0.05
_OTHERS = 0o077


class GrantKeep(Protocol):
    """Keeps the grant of one server. All methods raise ``OauthError``."""

    async def load(self) -> OauthGrant | None:
        """Return the grant that is kept."""
        ...

    async def save(self, grant: OauthGrant) -> None:
        """Keep a grant in place of the one before."""
        ...

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Return a context in which no other process renews the grant."""
        ...


class MemoryGrant:
    """Keeps a grant for as long as the process lives: one that can be had again at any time."""

    def __init__(self) -> None:
        self._grant: OauthGrant | None = None

    async def load(self) -> OauthGrant | None:
        """See ``GrantKeep.load``."""
        return self._grant

    async def save(self, grant: OauthGrant) -> None:
        """See ``GrantKeep.save``."""
        self._grant = grant

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """See ``GrantKeep.alone``: nobody else has it."""
        yield


class GrantFile:
    """Keeps the grant for one URL of a server in a file below the data directory.

    ``owner`` is empty for the operator's. Where a definition moves its server elsewhere, its tokens
    do not follow: they are another file's.
    """

    def __init__(self, data: Path, owner: str, server: str, url: str) -> None:
        digest = sha256(f"{owner} {server} {url}".encode()).hexdigest()[:16]
        self.path = data / FOLDER / f"{server}.{digest}.json"

    async def load(self) -> OauthGrant | None:
        """See ``GrantKeep.load``."""
        return await anyio.to_thread.run_sync(self._load)

    async def save(self, grant: OauthGrant) -> None:
        """See ``GrantKeep.save``. Once begun it is done, or a refresh token would be lost."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._save, encode(grant))

    async def forget(self) -> None:
        """Delete the file, if there is one."""
        await anyio.to_thread.run_sync(lambda: self.path.unlink(missing_ok=True))

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None]:
        """See ``GrantKeep.alone``."""
        descriptor = self._opened_lock()
        try:
            with anyio.move_on_after(LOCK_SECONDS) as waiting:
                while not _locked(descriptor):  # noqa: ASYNC110  no event tells of a file's lock
                    await anyio.sleep(_LOOK_SECONDS)
            if waiting.cancelled_caught:
                raise OauthError("Another process renews the token for too long.", transient=True)
            yield
        finally:
            os.close(descriptor)

    def _opened_lock(self) -> int:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self.path.with_suffix(".lock")
            return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unusable(self.path, error) from None

    def _load(self) -> OauthGrant | None:
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(self.path, error) from None
        if mode & _OTHERS:
            raise OauthError(f"Others may read {self.path}: make it its owner's alone.")
        try:
            return files.of(self.path, OauthGrant)
        except ProblemError:
            # What it says is nobody's to read, its fault included.
            raise OauthError(f"{self.path} holds no login: log in again.") from None

    def _save(self, data: bytes) -> None:
        new = self.path.with_suffix(f".{token_hex(8)}.new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            new.replace(self.path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise _unusable(self.path, error) from None


class NewGrant(GrantFile):
    """The same for a login: what was kept before is not used, and stays if there is no new one."""

    _is_saved = False

    async def load(self) -> OauthGrant | None:
        """See ``GrantKeep.load``."""
        return await super().load() if self._is_saved else None

    async def save(self, grant: OauthGrant) -> None:
        """See ``GrantKeep.save``."""
        await super().save(grant)
        self._is_saved = True


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unusable(path: Path, error: OSError) -> OauthError:
    return OauthError(f"Logins cannot be kept in {path.parent}: {error.strerror}.")
