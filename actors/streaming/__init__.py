"""Generates answers: takes work items, calls model providers, publishes what arrives.

Owns nothing durable. In: the work queue ``generate`` of all tenants, and their terms from bucket
``terms``. Out: events on ``cb.<tenant>.stream.<execution>``, and one command a work item to the
execution that asked.
"""
