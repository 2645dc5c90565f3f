"""A fleet on one machine: nats-server and every actor as processes of their own, supervised.

``plan``        which processes, from what was asked on the command line
``declared``    the actors as they declare themselves
``host``        several actors in one process
``child``       one process: started, restarted, drained
``fork_server`` starts processes that share what they all import
``forks``       how it is asked, and how these processes are seen to
``printing``    the fleet's log lines and its table of processes
``supervisor``  all of them together, from the start to the last one's end
"""
