"""The reference, written from what it describes: `make docs` writes `docs/reference/` anew.

Each module makes one kind of page from the values that the program itself uses: the vocabulary, the
rights of the broker's users, the settings, the routes, the commands, the counters, the problems.
`tests/test_docs.py` holds the written pages against fresh ones, so none can go stale.
"""
