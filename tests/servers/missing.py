"""Say that something a test needs is not on this machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["unavailable"]


def unavailable(what: str, way_out: str) -> NoReturn:
    """Skip the running test because a server, package or display is missing.

    Parameters
    ----------
    what
        The thing that is not there.
    way_out
        The command that brings it.

    Notes
    -----
    With ``CVCACHE_CI=1`` in the environment the test fails instead: CI installs everything, so
    there a missing server is a fault of the set-up and must not pass unseen.
    """
    reason = f"{what} is not on this machine; {way_out}"
    if os.environ.get("CVCACHE_CI") == "1":
        pytest.fail(f"{reason} (CVCACHE_CI=1: in CI nothing may be missing)", pytrace=False)
    pytest.skip(reason)
