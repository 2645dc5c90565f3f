"""The pricing actor: it owns the rate book, the ledgers of tenants, and what is read from both.

In:  requests ``cb.*.pricing.*``, ``cb.*.budgets.*``, ``cb.*.limits.*``; the rate book in force, from
     bucket ``prices``; commands to accounts, their journal for the projection of costs
Out: answers, ``events.budget.>``, the journal of accounts
"""
