"""What an entity announces has an id, the same whenever the entry it follows from is applied. Pure.

By it a stream does not store a repeat, and who listens can tell one.
"""

from collections.abc import Sequence

import msgspec

from schemas.decision import Publish


def named(
    publications: Sequence[Publish], entity: str, address: tuple[str, str], place: tuple[int, int]
) -> list[Publish]:
    """Give publications their ids, by the entry that they follow from and their place in it.

    ``place`` is the number of the commit and that of the entry within its entity. Both are needed:
    the latter begins anew where an entity is restored from its record, and of one commit several
    entries may be of the same entity. The address tells entries of a commit apart, and not their
    place in it, because those before may be unreadable when this one is read again.
    """
    if not publications:
        return []
    (tenant, key), (n, entry) = address, place
    prefix = f"{entity}.{tenant}.{key}.{n}.{entry}"
    return [
        msgspec.structs.replace(each, id=f"{prefix}.{number}") if each.stored else each
        for number, each in enumerate(publications)
    ]
