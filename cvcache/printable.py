"""Other people's text, made harmless to show."""

from __future__ import annotations

import re

_CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    # what turns the direction of writing around, or breaks a line unseen, makes a name look like another one
    r"|[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def plain(text: str) -> str:
    """Return `text` without escape sequences, control characters and turns of direction; lines and tabs stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))
