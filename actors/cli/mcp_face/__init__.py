"""Agents of a tenant as tools of the Model Context Protocol: ``callboard mcp serve``.

``offers``   an agent as a tool; arguments as an execution; its end as a result
``progress`` the events of a stream as notifications of progress
``agents``   listing and running agents, over the bus
``server``   the protocol's requests, answered from what can be offered
``serving``  Streamable HTTP on the loopback interface, and stdio
"""
