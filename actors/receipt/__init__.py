"""The room of receipts: `aggregate.py` decides, `projection.sql` tabulates, `queries.py` reads."""
