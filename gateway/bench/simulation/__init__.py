"""The simulator: the product's own code under virtual time, with faults drawn from a seed.

Read `world` (who takes part, what befalls them), then `invariants` (what must be true all the
same), then what stands under them: `loop` (virtual time, processes that die), `clocks` (wall clocks
that are wrong), `network` (lines that stall and break), `broker`, `stream` and `consumer` (what
nats-server does, as far as we rely on it). ADR 0020 tells why it is cut where it is cut.
"""
