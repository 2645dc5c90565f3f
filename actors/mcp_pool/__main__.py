"""A process of the MCP pool: it holds the connections to MCP servers, and calls their tools.

`python -m actors.mcp_pool` starts one more; all that run share the work.
"""

from actors.mcp_pool.actor import ACTOR
from bus.actor import main

if __name__ == "__main__":
    main(ACTOR, __doc__)
