"""Inboxes: where the submitted commands of each tenant lie, and how they come out again.

``rules``      what becomes of a command: its id, its pauses, its refusals; pure
``directory``  which tenants have an inbox, and making one
``newcomers``  hears the first commands of tenants that have none, and stores them
``pull``       takes commands out of one inbox until it is empty
``readers``    one pull for each inbox that holds something
``carrying``   has a command carried out, or lays it aside with the reason
"""
