"""Projections: tables for lists, searches and reports, made from a journal and nothing else.

``definition``  what one projection is: its journal, its tables, what an event does to them
``table``       a table of which lists show pages, by filters, with exact totals
``fold``        rows that entities have of their own, changed many at a time
``checkpoint``  how far it has come; refuses a gap
``file``        the SQLite file: rows and checkpoint change together or not at all
``slot``        which file belongs to which process of a machine
``projector``   follows the journal, and answers questions from the file
``report``      how far the projections of a fleet have come
"""

from bus.projection.definition import EXPIRED_AT_ONCE, Fact, Projection, Rows, Views
from bus.projection.fold import Fold
from bus.projection.projector import ProjectionAnswer, ProjectionWatch, Projector
from bus.projection.report import projection_states, rebuild
from bus.projection.table import Change, Row, Table, TablePage, TableQuery

__all__ = [
    "EXPIRED_AT_ONCE",
    "Change",
    "Fact",
    "Fold",
    "Projection",
    "ProjectionAnswer",
    "ProjectionWatch",
    "Projector",
    "Row",
    "Rows",
    "Table",
    "TablePage",
    "TableQuery",
    "Views",
    "projection_states",
    "rebuild",
]
