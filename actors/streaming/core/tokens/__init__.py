"""Counts of tokens: read, believed, estimated, held against budgets and windows."""
