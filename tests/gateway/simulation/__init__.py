"""The simulator: what it promises of itself, and that it finds what it is there to find."""
