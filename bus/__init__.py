"""How it travels: the log, commands and their broker. The only package that imports nats."""
