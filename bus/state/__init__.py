"""States at rest: how the state of an entity that left memory lies in the stream of its journal.

The cast: ``pages`` lays a state out in messages, ``bus.jetstream.states`` and ``bus.memory.states``
store them, ``bus.shard.rest`` decides which entities leave memory and brings them back.
"""
