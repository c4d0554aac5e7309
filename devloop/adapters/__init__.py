"""One module for each outside thing, each behind a Protocol of `devloop.runtime.ports`."""
