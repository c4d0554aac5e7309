"""Forwards: local TCP ports that lead to a service's pods, whichever these are at the moment."""

from devloop.adapters.forward.forwarder import PortForwarder

__all__ = ["PortForwarder"]
