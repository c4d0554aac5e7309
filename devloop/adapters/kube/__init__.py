"""Kubernetes: the `Cluster` port over the API server's own protocols, with kr8s for what logging in takes.

Importing this package is cheap: safety is checked with `config.read_contexts` before any client is loaded, and
`devloop.adapters.kube.cluster` brings the HTTP client in (import it in a thread while other things happen).
"""
