"""Where images are built, where their cache is, and how they get to where a cluster takes them from."""
