"""The command line: `canopy`. Everything it does goes through the public API.

Read `app.py` (the tree of commands), then `call.py` (what every command has in common), then any
command. What needs a node that is stopped is in `stopped.py`.
"""
