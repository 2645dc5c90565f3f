"""Searching texts for what must not go in or come out, wherever a stream is cut."""
