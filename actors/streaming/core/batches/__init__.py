"""Provider batch APIs: half the price for an answer within 24 hours. Pure.

``form`` says what every batch API has, ``openai`` and ``anthropic`` how theirs is spoken.
"""
