"""Kubernetes objects as an engine's containers: what a cluster's controllers and kubelet would decide, as functions.

Pure: manifests and what the engine holds go in, containers to create and steps to take come out. The adapter that takes
them is `devloop.adapters.docker.cluster`.
"""
