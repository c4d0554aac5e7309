"""What the shop's Python services share: a client of the store, and an HTTP server that follows its source."""
