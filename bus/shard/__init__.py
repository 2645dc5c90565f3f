"""Entities: exact state with one writer, sharded and event-sourced.

``entity``    reading what is stored of an entity; what a kind of entity is says ``schemas.entity``
``book``      the entities of one shard in memory, and how commits change them
``turn``      commands in, one commit and its consequences out; pure
``quarantine`` how an entity ends of which part cannot be read; ``salvage`` finds which these are
``recovery``  taking a shard over: fence first, then snapshot and tail
``fetching``  getting back what is stored of a shard
``relief``    making room in a journal in which nobody can begin
``fence``     whether the shard is still ours
``storing``   commits within the bounds of the journal and of the blobs
``snapshots`` taking and naming them; ``purging`` removes what they make superfluous
``parts``     what does not change in a state lies in blobs of its own
``blob_names`` which blob is of what
``owner``     the loop of the one process that owns a shard
``effects``   what leaves a shard once its commit is stored
``asks``      what the entities of a shard ask of others
``dispatch``  handing out open work to workers, by way of ``bus.work.registry``
``takeover``  after a takeover, locating open work and beginning anew what was lost
``host``      which shards this process should own, and running them
"""

from bus.shard.asks import AskRoute
from bus.shard.host import ShardHost

__all__ = ["AskRoute", "ShardHost"]
