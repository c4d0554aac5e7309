"""The composition root: puts core, runtime, adapters and front-ends together for the command line and for notebooks."""

from devloop.app.live import Session, session

__all__ = ["Session", "session"]
