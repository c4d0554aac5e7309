"""A helper of the tour's devfile."""


def host_name(service: str) -> str:
    """Return the name under which a service is seen from outside."""
    return f"{service}.tour.example"
