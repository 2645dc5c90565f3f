"""Actors as data: what one declares becomes streams, owners, services, workers, projections.

``declaration``  what an actor is, and what only it can make itself
``here``         what an actor has in a process, made from its declaration
``parts``        the parts of its process, from both
``main``         running one actor, or several in one process
"""

from bus.actor.declaration import Actor, Own
from bus.actor.here import Here
from bus.actor.main import main, serve

__all__ = ["Actor", "Here", "Own", "main", "serve"]
