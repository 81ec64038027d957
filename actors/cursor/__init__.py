"""The room of read cursors: `aggregate.py` decides, `projection.sql` and `queries.py` read."""
