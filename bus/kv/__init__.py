"""Typed key-value buckets with compare-and-set, and a live view of their keys.

``bucket``         what a bucket and a watch promise
``nats_bucket``    a bucket on JetStream; ``message`` is how a value lies in its stream
``nats_watch``     following such a bucket without missing anything
``memory_bucket``  the same in memory
``followed``       whether a process knows all that a bucket holds
``store``          buckets as they are declared: whose each is, and who follows it
"""

from bus.kv.bucket import Bucket, Entry, Watch, Watcher
from bus.kv.followed import Followed, followed
from bus.kv.memory_bucket import MemoryBucket
from bus.kv.nats_bucket import NatsBucket
from bus.kv.store import Follow, Store

__all__ = [
    "Bucket",
    "Entry",
    "Follow",
    "Followed",
    "MemoryBucket",
    "NatsBucket",
    "Store",
    "Watch",
    "Watcher",
    "followed",
]
