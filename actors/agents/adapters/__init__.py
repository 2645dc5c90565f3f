"""Where the agents actor touches the outside: stored definitions and conversations."""
