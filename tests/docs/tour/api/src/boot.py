"""Starts the API."""
