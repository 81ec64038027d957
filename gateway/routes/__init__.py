"""One module per noun: parse, send the command, reply."""
