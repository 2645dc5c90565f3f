"""What keeps answers coming when providers fail: circuits, keys, rate limits, alternatives."""
