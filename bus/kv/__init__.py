"""Typed key-value buckets with compare-and-set, and a live view of their keys.

``bucket``         what a bucket and a watch promise
``nats_bucket``    a bucket on JetStream; ``message`` is how a value lies in its stream
``nats_watch``     following such a bucket without missing anything
``memory_bucket``  the same in memory
``followed``       whether a process knows all that a bucket holds
``heads``          all values of a store in memory
``store``          buckets as they are declared: whose each is, and who follows it
``versioned``      a store of definitions: versions, soft delete, quotas. ``versions`` is how they
                   lie in a bucket, ``roster`` what a process knows of them, ``stock`` their sizes
"""

from bus.kv.bucket import Bucket, BucketEntry, BucketWatch, Watcher
from bus.kv.followed import Followed, followed
from bus.kv.memory_bucket import MemoryBucket
from bus.kv.nats_bucket import NatsBucket
from bus.kv.store import Follow, Store
from bus.kv.versioned import Kind, VersionedStore

__all__ = [
    "Bucket",
    "BucketEntry",
    "BucketWatch",
    "Follow",
    "Followed",
    "Kind",
    "MemoryBucket",
    "NatsBucket",
    "Store",
    "VersionedStore",
    "Watcher",
    "followed",
]
