"""Storage options as people type them: a value that is JSON is read as such."""

from __future__ import annotations

import json
from typing import Any


def read_option(text: str) -> Any:
    """Return the value of a storage option: what is JSON as that, anything else as it stands."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
