"""Projections: tables for lists, searches and reports, made from a journal and nothing else.

``definition``  what one projection is: its journal, its tables, what an event does to them
``checkpoint``  how far it has come; refuses a gap
``file``        the SQLite file: rows and checkpoint change together or not at all
``slot``        which file belongs to which process of a machine
``projector``   follows the journal, and answers questions from the file
``report``      how far the projections of a fleet have come
"""

from bus.projection.definition import Fact, Projection, Rows
from bus.projection.projector import Answer, Projector
from bus.projection.report import projection_states, rebuild

__all__ = [
    "Answer",
    "Fact",
    "Projection",
    "Projector",
    "Rows",
    "projection_states",
    "rebuild",
]
