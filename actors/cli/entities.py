"""The entity types that a fleet of this version keeps, and where each is defined."""

import pkgutil
from typing import Any

from bus.errors import problem
from bus.shard import Entity
from schemas.ledger import ACCOUNT_KEY

DEFINED_IN = {
    "execution": "actors.agents.actor:execution_entity",
    "account": "actors.pricing.adapters.account:account_entity",
}
"""Imported only when it is needed: most commands ask the fleet and know no entity."""


ONLY_KEYS = {"account": ACCOUNT_KEY}
"""The key of the one entity of its type that a tenant has."""


def entity(name: str) -> Entity[Any, Any, Any]:
    """Return the definition of an entity type.

    Raises:
        ProblemError: ``not_found``.
    """
    if name not in DEFINED_IN:
        raise problem("not_found", f"there is no entity {name}; there are {', '.join(DEFINED_IN)}")
    return pkgutil.resolve_name(DEFINED_IN[name])()
