"""The pricing actor: it owns the rate book, and what things cost by it.

In:  requests ``cb.*.pricing.*``; the rate book in force, from bucket ``prices``
Out: answers only
"""
