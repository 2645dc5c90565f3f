"""The command line: starts a fleet, and speaks to one as any other client of the bus does.

``session``     where the bus is, for whom to speak, how errors are said
``fleet``       ``up`` and ``doctor``
``agents``      definitions
``executions``  running agents, reading their streams, conversations
``contract``    what can be asked: subjects, documents, settings, permissions
``prices``      the rate book
``dead``        letters that could not be handled
``shards``      who owns which shard
``costs``       what was spent, and how to spend less
``reconciliation``  the ledger beside what providers say
``projections`` tables made from journals: how far they have come, making them anew
``journal``     the history of one entity, snapshots
``journals``    how both of them read
``entities``    the entity types there are
``shown``       tables and streams on a terminal
"""

from actors.cli.commands import main

__all__ = ["main"]
