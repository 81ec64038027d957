"""What is said: the vocabulary of Canopy. Pydantic only; imports nothing of ours.

Read `envelope` first (what every message has in common), then any noun.
"""
