"""Who decides: one room per concern, and the three loops in which rooms live."""
