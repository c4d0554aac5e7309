"""Where services run, what runs there, and how it does."""
