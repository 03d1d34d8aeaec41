"""Pseudonyms of accounts, and the keyed hashes by which erased people are known."""
