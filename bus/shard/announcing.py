"""What an entity announces has an id, the same whenever the entry it follows from is applied. Pure.

By it a stream does not store a repeat, and who listens can tell one.
"""

import msgspec

from schemas.decision import Publish


def named(
    publications: list[Publish], entity: str, address: tuple[str, str], place: tuple[int, int]
) -> list[Publish]:
    """Give publications their ids, by the entry that they follow from and their place in it.

    ``place`` is the number of the commit and that of the entry within its entity. Both are needed:
    the latter begins anew where an entity is restored from its record, and of one commit several
    entries may be of the same entity. The address tells entries of a commit apart, and not their
    place in it, because those before may be unreadable when this one is read again.
    """
    prefix = f"{prefix_of(entity, address)}.{place[0]}.{place[1]}."
    for number, each in enumerate(publications):
        if each.stored:
            # Nobody else has it yet, and to copy each would cost more than to make it.
            msgspec.structs.force_setattr(each, "id", f"{prefix}{number}")
    return publications


def prefix_of(entity: str, address: tuple[str, str]) -> str:
    """Return how the ids begin of what an entity announces; three numbers follow."""
    return f"{entity}.{address[0]}.{address[1]}"
