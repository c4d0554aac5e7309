"""Kustomize directories and Helm charts: which files they read, and what their tools say."""
