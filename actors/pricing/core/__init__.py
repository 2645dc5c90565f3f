"""The pure domain of money: the rate book, and what stands on it."""
