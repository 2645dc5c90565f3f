"""The command line: starts a fleet, and speaks to one as any other client of the bus does.

``session``     where the bus is, for whom to speak, how errors are said
``fleet``       ``up``
``doctor``      whether all is well
``entry``       where the command begins, before anything is imported
``commands``    the root: what is written by hand, and what the catalogue gives
``requests``    each request of the contract as a command
``fields``      a request's fields as options
``asking``      files and words made into requests, and these sent
``replies``     answers as tables, or field by field
``executions``  running agents, following their streams
``contract``    what can be asked: subjects, documents, settings, permissions
``secrets``     the file of secrets: an example, a check
``prices``      the rate book
``dead``        letters that could not be handled
``shards``      who owns which shard
``agent_file``  a commented agent file to begin with
``local_model`` a small real model on this machine
``costs``       what was spent, and how to spend less
``reconciliation``  the ledger beside what providers say
``projections`` tables made from journals: how far they have come, making them anew
``journal``     the history of one entity, snapshots
``journals``    how both of them read
``mcp_login``   a person logs in to a server that asks for it
``mcp_serve``   starts what ``mcp_face`` is: agents as tools of the Model Context Protocol
``mcp_servers`` how the servers of tools fare
``rendering``   tables and streams on a terminal
"""
