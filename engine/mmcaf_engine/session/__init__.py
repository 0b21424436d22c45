"""A session: one bundle, opened in one backend at one precision, self-tested."""

from .session import Session, open_session

__all__ = ["open_session", "Session"]
