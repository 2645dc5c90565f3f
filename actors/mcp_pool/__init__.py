"""The MCP pool: owns the connections to MCP servers, and calls their tools for executions."""
