"""How messages travel: everything that Callboard does with NATS. It knows no actor.

From the top down; each imports only what stands below it:

``testing``    a bus for tests: in memory, or on a nats-server of its own
``actor``      see there
``runtime``    a process: its parts, supervision, health
``client``     a client of the public contract, for the command line and for users' programs
``projection`` tables made from journals
``archive``    closed periods of a journal, packed into a stream of their own
``shard``      entities: exact state with one writer, sharded and event-sourced
``work``       items of work: worker registry, grants, workers
``requests``   services, requests to owners, submitted commands, dead letters
``kv``         key-value buckets, followed by every process
``bodies``     large contents, stored once beside the journal
``jetstream``  the ports of the bus on a nats-server
``memory``     the ports of the bus in memory, for simulation and tests
``streams``    the streams as data, their provision and their capacity
``connection`` the connection to NATS
``server``     nats-server as a child of ours
``security``   permissions, secrets, egress
``fairness``   quotas, turns and places, fairly over tenants; slices of the event loop
``membership`` who is alive, and who should own which shard
``telemetry``  logs, metrics, traces
``state``      how a state at rest is laid out
``files``      files of users and operators, bounded
``codec``      bytes to messages and back
``subjects``   the names of subjects
``ids``        ids of our own
``tasks``      task pools, own tasks, wake-ups, loops beside a body
``config``     settings, and the tables of constants
``ports``      the protocols that both buses implement
``errors``     what is raised

``README.md`` beside this file tells how a message flows, and has the glossary.
``lazily``     modules that are imported when they are used
"""

from bus.lazily import later

# Before anything here imports nats.
later("aiohttp")
