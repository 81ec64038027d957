"""The log itself as a table: who did what when, and what called for it. No aggregate of its own."""
