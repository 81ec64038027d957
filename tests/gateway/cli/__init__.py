"""The command line: what is typed, what is answered, how it ends."""
