"""The promises of the bus, against the real broker."""
