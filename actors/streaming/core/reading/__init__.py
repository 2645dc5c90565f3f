"""What the readers of all wire formats share: collecting an answer, its calls and its end."""
