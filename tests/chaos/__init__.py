"""Real processes, killed at random; the long forms are `canopy bench --chaos`."""
