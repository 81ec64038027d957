"""What goes over HTTP: the models of bodies, queries and replies, one module a noun.

Bodies are strict about the fields they know and ignore those they do not, so that agents written
for other versions keep working. Replies are described here and written by the routes.
"""
