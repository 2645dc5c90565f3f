"""API keys: how one is written, what is kept of it, and how one that is presented is judged. Pure.

A key is ``cb_<kind>_<id>_<secret><check>``: twelve characters that name it, 43 of 32 random bytes,
and six of the CRC-32 of all before, each in base62. The check lets whoever reads a key refuse a
misspelt one without a look; it proves nothing. Of the secret only the SHA-256 is stored: it has 256
bits of chance, so that a slow hash would add nothing.
"""

import hashlib
import hmac
import zlib
from datetime import datetime
from typing import Literal, NamedTuple

from schemas.base import Value

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

KeyKind = Literal["live", "test"]

ID_LENGTH, SECRET_LENGTH, CHECK_LENGTH = 12, 43, 6
SECRET_BYTES = 32
ID_BYTES = 9
"""Random bytes of an id: the twelve characters hold 71 bits."""

LAST = 4
"""So many characters of a key are shown, for its owner to tell it from others."""

_KINDS: tuple[KeyKind, ...] = ("live", "test")
_LENGTH = len("cb_live_") + ID_LENGTH + 1 + SECRET_LENGTH + CHECK_LENGTH


class SecretHash(Value):
    """What is kept of a secret, and until when it is taken; None is without an end."""

    sha256: str
    last: str
    until: datetime | None = None


class PresentedKey(NamedTuple):
    """A key that somebody has shown, well-formed and not yet judged. Its repr hides the secret."""

    kind: KeyKind
    id: str
    secret: str

    def __repr__(self) -> str:
        return f"PresentedKey({self.id})"


def base62(data: bytes, length: int) -> str:
    """Return the number that bytes make, in base62 with leading zeros."""
    number, digits = int.from_bytes(data), list[str]()
    for _ in range(length):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def key_id(chance: bytes) -> str:
    """Return the id that random bytes make. It stands in subjects."""
    return base62(chance, ID_LENGTH)


def made(kind: KeyKind, name: str, chance: bytes) -> PresentedKey:
    """Return the key of an id whose secret these random bytes make."""
    return PresentedKey(kind, name, base62(chance, SECRET_LENGTH))


def written(key: PresentedKey) -> str:
    """Return a key as it is shown to its owner, once."""
    text = f"cb_{key.kind}_{key.id}_{key.secret}"
    return text + _check(text)


def parsed(text: str) -> PresentedKey | None:
    """Read a key; None for what is none, whatever it is."""
    if len(text) != _LENGTH or not text.isascii():
        return None
    kinds: list[KeyKind] = [each for each in _KINDS if text.startswith(f"cb_{each}_")]
    name, _, secret = text[len("cb_live_") : -CHECK_LENGTH].partition("_")
    if not kinds or (len(name), len(secret)) != (ID_LENGTH, SECRET_LENGTH):
        return None
    key = PresentedKey(kinds[0], name, secret)
    return key if written(key) == text else None


def hash_of(key: PresentedKey, until: datetime | None = None) -> SecretHash:
    """Return what is kept of a key's secret."""
    return SecretHash(sha256=_digest(key.secret), last=key.secret[-LAST:], until=until)


def fits(key: PresentedKey, kept: list[SecretHash], now: datetime) -> bool:
    """Say whether a key's secret is one of those that are taken now.

    All are compared, and where none is kept another one, so that the time tells nothing.
    """
    digest = _digest(key.secret)
    found = False
    for each in kept or [_NOBODYS]:
        is_same = hmac.compare_digest(digest, each.sha256)
        found |= is_same and (each.until is None or now < each.until)
    return found


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


_NOBODYS = SecretHash(sha256="0" * 64, last="")


def _check(text: str) -> str:
    return base62(zlib.crc32(text.encode()).to_bytes(4), CHECK_LENGTH)
