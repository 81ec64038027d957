"""The room of the workspace: `aggregate.py` decides, `reactor.py` welcomes, `queries.py` reads."""
