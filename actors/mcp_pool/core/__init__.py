"""What the pool decides, without input or output: sessions, balance, and the protocol's messages."""
