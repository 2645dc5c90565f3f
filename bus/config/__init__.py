"""What an operator decides (``settings``, ``reading``), what the design decides (``timing``)."""

from bus.config.reading import load
from bus.config.settings import Config, Durability, Secret, ServerUrl, Terms
from bus.config.timing import Timing

__all__ = ["Config", "Durability", "Secret", "ServerUrl", "Terms", "Timing", "load"]
