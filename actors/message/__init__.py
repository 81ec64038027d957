"""The room of messages: `aggregate.py` decides, `projection.sql` tabulates, `queries.py` reads."""
