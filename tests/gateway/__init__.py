"""The promises of the gateway, over real sockets."""
