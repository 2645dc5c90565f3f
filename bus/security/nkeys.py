"""Keys and tokens of nats-server: Ed25519 keys in its spelling, and claims that they sign. Pure.

A key is written in base32 with a byte before it that says whose it is, and a CRC-16 behind. A seed
has one byte more, which says that it is one. Claims are JSON Web Tokens whose header names
``ed25519-nkey``. Sources: github.com/nats-io/nkeys (README, "Encoding"), nats-io/jwt v2, ADR-14.
"""

import base64
import binascii
import hashlib
from typing import Any, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus.codec import accept
from bus.errors import ProblemError

Owner = Literal["account", "user", "server"]

_PREFIX: dict[Owner, int] = {"account": 0, "user": 20 << 3, "server": 13 << 3}
_SEED = 18 << 3
_KEY_BYTES = 32

HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}

MOST_BYTES = 64 * 1024
"""Of a token that somebody else has written."""


class Claims(NamedTuple):
    """What a token says, and the public key whose owner has signed it."""

    issuer: str
    body: dict[str, Any]


class KeyPair:
    """A key that can sign. Its repr does not show the seed."""

    def __init__(self, private: Ed25519PrivateKey, owner: Owner) -> None:
        self._private = private
        self.public = _written(bytes([_PREFIX[owner]]), private.public_key().public_bytes_raw())
        self._owner: Owner = owner

    @classmethod
    def of(cls, chance: bytes, owner: Owner) -> "KeyPair":
        """Return the pair that 32 random bytes make."""
        return cls(Ed25519PrivateKey.from_private_bytes(chance), owner)

    @classmethod
    def from_seed(cls, seed: str) -> "KeyPair | None":
        """Read a seed as ``nsc`` or ``nats.conf`` write it; None for what is none."""
        raw = _read(seed.strip())
        if raw is None or len(raw) != _KEY_BYTES + 2 or raw[0] & 0xF8 != _SEED:
            return None
        prefix = (raw[0] & 7) << 5 | raw[1] >> 3
        owners: list[Owner] = [name for name, value in _PREFIX.items() if value == prefix]
        return cls.of(raw[2:], owners[0]) if owners else None

    @property
    def seed(self) -> str:
        """The seed: who has it can sign."""
        prefix = _PREFIX[self._owner]
        first = bytes([_SEED | prefix >> 5, (prefix & 31) << 3])
        return _written(first, self._private.private_bytes_raw())

    def signed(self, claims: dict[str, Any]) -> str:
        """Return claims as a token of this key. Its id follows from what it says."""
        body = {**claims, "iss": self.public}
        digest = hashlib.sha256(msgspec.json.encode(body, order="deterministic")).digest()
        body["jti"] = base64.b32encode(digest).decode().rstrip("=")
        text = f"{_part(HEADER)}.{_part(body)}"
        return f"{text}.{_unpadded(self._private.sign(text.encode()))}"


def verified(token: bytes, owner: Owner) -> Claims | None:
    """Return what a token says if its issuer is such an owner, and has signed it; None otherwise.

    Whether that issuer is to be believed is for the caller to say.
    """
    parts = token.split(b".")
    if len(token) > MOST_BYTES or len(parts) != 3:  # noqa: PLR2004  header, claims, signature
        return None
    header, body, signature = (_padded(part) for part in parts)
    if header is None or body is None or signature is None:
        return None
    try:
        if accept(dict[str, Any], header).get("alg") != HEADER["alg"]:
            return None
        claims = accept(dict[str, Any], body)
    except ProblemError:
        return None
    issuer = claims.get("iss")
    key = _public(issuer, owner) if isinstance(issuer, str) else None
    if key is None or not _has_signed(key, signature, b".".join(parts[:2])):
        return None
    return Claims(str(issuer), claims)


def is_public(text: str, owner: Owner) -> bool:
    """Say whether a text is a public key of such an owner."""
    return _public(text, owner) is not None


def _public(text: str, owner: Owner) -> Ed25519PublicKey | None:
    raw = _read(text)
    if raw is None or len(raw) != _KEY_BYTES + 1 or raw[0] != _PREFIX[owner]:
        return None
    return Ed25519PublicKey.from_public_bytes(raw[1:])


def _has_signed(key: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _written(first: bytes, key: bytes) -> str:
    raw = first + key
    return (
        base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")
    )


def _read(text: str) -> bytes | None:
    """Return the bytes of a key without its check; None where that does not fit."""
    if len(text) > MOST_BYTES or not text.isascii():
        return None
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        return None
    body, check = raw[:-2], raw[-2:]
    return body if binascii.crc_hqx(body, 0).to_bytes(2, "little") == check else None


def _part(value: dict[str, Any]) -> str:
    return _unpadded(msgspec.json.encode(value))


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _padded(part: bytes) -> bytes | None:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
