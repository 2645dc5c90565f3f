"""Agents and tools of a tenant over the Model Context Protocol: ``callboard mcp serve``.

``offers``   an agent as a tool; arguments as an execution; its end as a result
``progress`` the events of a stream as notifications of progress
``contents`` tools, resources and prompts of MCP servers as they are told on
``running``  executions that are begun, followed and ended, over the bus
``agents``   listing and running agents
``tools``    the same for tools of MCP servers, and what else they offer
``server``   the protocol's requests about tools, answered from what can be offered
``shelves``  those about resources, prompts and completion
``changes``  who is told what was not asked for
``offering`` all of it put together for a tenant
``serving``  Streamable HTTP on the loopback interface, and stdio
"""
