"""SQL that somebody else wrote, answered in a process that holds nothing but the asker's own rows.

Three walls, each of which holds without the others. `guard` reads DuckDB's own syntax tree and lets
pass what is listed, nothing else; `cell` is a process without files, settings or secrets, and with
a bound on memory and time that the kernel keeps; and the rows that are poured into it (`question`)
are those that the asker may see, so there is nothing else in there to be found.
"""
