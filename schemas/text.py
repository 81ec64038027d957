"""Text that can be seen: what a name may be made of, and when a message says anything at all.

A name stands alone in a list, so what is invisible or turns the text around it could make it look
like another. Joiners and variation selectors stay allowed: emoji and some scripts are made with
them. Events take whatever was stored before there were such limits.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints
from pydantic_core import PydanticCustomError

STEERING = (
    r"\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb"
)
"""Control characters, line separators, direction marks, and what has no width and no use in a name
(Unicode: Cc, Zl, Zp, most of Cf)."""
UNSEEN = (
    r"\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u200c\u200d\u2800\u3164\ufe00-\ufe0f\uffa0"
)
"""What shows nothing by itself: joiners, variation selectors, fillers."""
SEEN = rf"[^\s{STEERING}{UNSEEN}]"
"""One character that shows, as a pattern that every dialect of JSON Schema reads."""

_SEEN = re.compile(rf"[^\s{STEERING}{UNSEEN}\U000e0000-\U000e0fff]")
_TAG = r"\U000e0020-\U000e007f"
_STEERING = re.compile(
    rf"[{STEERING}\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f]"
    rf"|(?<![\U0001f3f4{_TAG}])[{_TAG}]"
)
"""Also what steers beyond the first plane, which not every dialect can spell: controls of shorthand
and music, and tags but for those of a flag."""


def says_something(text: str) -> bool:
    """Whether there is a character in *text* that can be seen."""
    return _SEEN.search(text) is not None


def _legible(value: object) -> object:
    """*value*, unless it is a name that cannot be read. Its type and size are judged elsewhere."""
    if isinstance(value, str) and value:
        steering = _STEERING.search(value)
        if steering is not None:
            point = f"U+{ord(steering[0]):04X}"
            message = "Leave out {point}: a name has no control characters and none without width."
            raise PydanticCustomError("illegible", message, {"point": point})
        if not says_something(value):
            raise PydanticCustomError("illegible", "Use at least one character that can be seen.")
    return value


LEGIBLE = BeforeValidator(_legible)
"""Refuses what a name may not hold, and says which character it is."""

NAME = f"^[^{STEERING}]*{SEEN}[^{STEERING}]*$"
LegibleName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NAME), LEGIBLE]
LegibleLabel = Annotated[str, StringConstraints(max_length=100, pattern=f"(?:{NAME})|^$"), LEGIBLE]
"""As a name, or empty."""
LegibleFile = Annotated[str, StringConstraints(max_length=255, pattern=f"(?:{NAME})|^$"), LEGIBLE]
"""As a label, for the names of files, which are longer."""
