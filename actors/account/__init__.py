"""The room of accounts: `aggregate.py` decides, `projection.sql` tabulates, `queries.py` reads."""
