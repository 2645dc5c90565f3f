"""A fleet on one machine: nats-server and every actor as processes of their own, supervised.

``plan``        which processes, from what was asked on the command line
``child``       one process: started, restarted, drained
``printing``    the fleet's log lines and its table of processes
``supervisor``  all of them together, from the start to the last one's end
"""

from actors.fleet.plan import Plan
from actors.fleet.supervisor import Fleet

__all__ = ["Fleet", "Plan"]
