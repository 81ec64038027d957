"""What Canopy promises, as sentences that run. The tree mirrors the packages."""
