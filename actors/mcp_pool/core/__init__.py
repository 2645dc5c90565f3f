"""What the pool decides, without input or output: sessions, balance, the messages of MCP."""
