"""How it travels: connection, subjects, streams, journals, shards, workers and services on NATS."""
