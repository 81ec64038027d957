"""Why a statement is not answered."""

from __future__ import annotations


class Fault(Exception):
    """A code of the API, and a sentence for whoever has asked."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Forbidden(Fault):
    """A statement that is refused whatever it would give. Says what is not allowed, and what is."""

    def __init__(self, message: str) -> None:
        super().__init__("sql_forbidden", message)
