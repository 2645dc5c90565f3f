"""A set of attempts that were settled, as bytes: exact, sorted, 20 bytes each. Pure.

Nearly all that an account remembers is of this kind. As a dictionary an attempt takes some 400
bytes of memory and 70 of a snapshot, and a garbage collector looks at each. Keys that are not an
execution's UUID, step and attempt in their usual spelling do not fit in here.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

WIDTH = 20

_UUID, _DIGITS = 36, 32
_ATTEMPT = re.compile(r"\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")


def packed(key: str) -> bytes | None:
    """Return a key as 20 bytes, None if it has no such form. Two keys never have the same.

    It is asked for with each command, so it takes no pattern.
    """
    attempt = _attempt(key[_UUID:])
    if attempt is None or not key[8] == key[13] == key[18] == key[23] == "-":
        return None
    digits = key[:_UUID].replace("-", "")
    if len(digits) != _DIGITS or digits != digits.lower():
        return None
    try:
        name = bytes.fromhex(digits)
    except ValueError:
        return None
    # Spaces are passed over, and then there are fewer bytes.
    return name + attempt if len(name) == _DIGITS // 2 else None


@lru_cache(maxsize=1024)
def _attempt(text: str) -> bytes | None:
    """Return ``.step.attempt`` as four bytes; there are few of them."""
    found = _ATTEMPT.fullmatch(text)
    if found is None:
        return None
    return (int(found[1]) << 16 | int(found[2])).to_bytes(4, "big")


def added(settled: bytes, keys: Iterable[bytes]) -> bytes:
    """Return the set with more packed keys in it."""
    return joined(settled, b"".join(sorted(set(keys))))


def joined(one: bytes, other: bytes) -> bytes:
    """Return the union of two sets. Where they do not overlap nothing has to be sorted."""
    if not one or not other:
        return one or other
    if other[:WIDTH] < one[:WIDTH]:
        one, other = other, one
    # What follows on a key and a byte more is greater than the key.
    before, after = _place(one, other[:WIDTH]), _place(other, one[-WIDTH:] + b"\0")
    both = [*_keys(one[before:]), *_keys(other[:after])]
    return one[:before] + b"".join(dict.fromkeys(sorted(both))) + other[after:]


def holds(settled: bytes, key: bytes) -> bool:
    """Say whether a packed key is in the set."""
    place = _place(settled, key)
    return settled[place : place + WIDTH] == key


def size(settled: bytes) -> int:
    """Count the keys."""
    return len(settled) // WIDTH


def _keys(settled: bytes) -> Iterator[bytes]:
    return (settled[place : place + WIDTH] for place in range(0, len(settled), WIDTH))


def _place(settled: bytes, key: bytes) -> int:
    """Return the place in the bytes of the first key that is not less."""
    low, high = 0, len(settled) // WIDTH
    while low < high:
        middle = (low + high) // 2
        if settled[middle * WIDTH : (middle + 1) * WIDTH] < key:
            low = middle + 1
        else:
            high = middle
    return low * WIDTH
