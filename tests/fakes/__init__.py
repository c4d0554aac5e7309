"""The fakes: one small class per port, held to the real adapter by a shared suite in `tests/adapters/`."""
