"""How a command ends: a documented exit code, and for every failure what to do next."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes, the same for all commands and stable between releases."""

    OK = 0
    NO = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.NO: "the answer is no",
    Exit.USAGE: "not understood",
    Exit.REFUSED: "refused by the node",
    Exit.UNREACHABLE: "no node answers",
    Exit.UNAVAILABLE: "the node cannot now, try again",
    Exit.INTERRUPTED: "Ctrl-C",
}


class Failure(Exception):
    """A command that cannot go on. `remedy` names the next command or deed; `code` is constant.

    `passing` tells that the same may succeed in a moment; `answer` is what the node said.
    """

    def __init__(
        self,
        exit_code: Exit,
        message: str,
        remedy: str = "",
        code: str = "",
        detail: dict[str, Any] | None = None,
        *,
        passing: bool = False,
        answer: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.message = message
        self.remedy = remedy
        self.code = code or exit_code.name.lower()
        self.detail = detail or {}
        self.passing = passing
        self.answer = answer or {}

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints on standard error."""
        return {
            "error": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "exit": int(self.exit_code),
            **self.detail,
        }
