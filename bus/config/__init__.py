"""What an operator decides (``settings``), what the design decides (``timing``), their tables."""

from bus.config.settings import Config, Durability, Secret, ServerUrl, load
from bus.config.timing import Timing

__all__ = ["Config", "Durability", "Secret", "ServerUrl", "Timing", "load"]
