"""What models take, as data: which settings and values each refuses, whether it sees, its limits.

A definition is checked against this table when it is stored, and a request again before it is sent;
nothing is sent blindly that is known to be refused. The rows hold for the providers' own services.
A ``custom`` server may be anything, so nothing is known of it; a script ignores all settings.
"""

from schemas.capabilities.rule import Refusal
from schemas.capabilities.table import misplaced, output_limit, refusals, unseen

__all__ = ["Refusal", "misplaced", "output_limit", "refusals", "unseen"]
