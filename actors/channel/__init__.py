"""The room of channels: `aggregate.py` decides, `projection.sql` tabulates, `queries.py` reads."""
