"""What an operator decides (``settings``, ``reading``), what the design decides (``timing``)."""

from bus.config.reading import load
from bus.config.settings import Config, Durability, QuotaTerms, Secret, ServerUrl
from bus.config.timing import Timing

__all__ = ["Config", "Durability", "QuotaTerms", "Secret", "ServerUrl", "Timing", "load"]
