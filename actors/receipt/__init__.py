"""The room of receipts: `aggregate.py` decides; that one was kept, the room of commits tells."""
