"""The `Cluster` port on the Docker engine alone: pods are containers, Services names in a network, claims volumes.

All that devloop makes carries its labels, and what was applied is kept in the engine itself: a later session finds it.
What controllers and kubelet would do is decided in `core.containers` and done here, while a session deploys.
"""
