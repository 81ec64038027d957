"""What it costs: every measure starts its own node, and names what it is compared with.

Read `report.py` (what a measure answers), `node.py` (the nodes under test) and `wires.py` (clients
lean enough to share two cores with them), then any measure: `posts`, `live`, `rebuild`, `page`,
`start`, `sockets`, `chaos`, `storm`, `lag`. `seed` writes a log of any length.
"""
