"""The pricing actor: it owns the rate book, the ledgers of tenants, and what is read from both.

In:  requests ``cb.*.pricing.*``, ``cb.*.budgets.*``, ``cb.*.limits.*``; commands to accounts, and
     their journal for the projection of costs; the rate book in force, from bucket ``prices``
Out: answers, ``events.budget.>``, the journal of accounts, the terms of tenants in bucket ``terms``
"""
