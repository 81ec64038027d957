"""Where strange code runs: isolation and workspaces. Knows no actor."""
