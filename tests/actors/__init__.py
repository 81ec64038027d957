"""The rooms: what they decide, and how they live."""
