"""The command line: `canopy`. Everything it does goes through the public API (ADR 0007).

Read `app.py` (the tree of commands), then `call.py` (what every command has in common), then any
command. Exceptions are what needs a node that is stopped: `node.py` and `checks.py`.
"""
