"""Typed key-value buckets with compare-and-set, and a live view of their keys.

``bucket`` holds the protocols, ``nats_bucket`` and ``memory_bucket`` their two implementations.
"""

from bus.kv.bucket import Bucket, Entry, Watch, Watcher
from bus.kv.memory_bucket import MemoryBucket
from bus.kv.nats_bucket import NatsBucket

__all__ = ["Bucket", "Entry", "MemoryBucket", "NatsBucket", "Watch", "Watcher"]
