"""The promises of the vocabulary and of the settings."""
