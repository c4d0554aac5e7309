"""The loop and the ports it acts through."""
