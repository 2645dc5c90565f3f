"""What the requests of all wire formats share: fitting settings, writing turns."""
