"""Opens sessions with servers, shares them among calls, and says what became of each call."""
