"""Cutting a stream of bytes into events, whatever the events mean."""
