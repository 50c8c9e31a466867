"""Run a script in a plan, so that nothing is computed."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from cvcache.errors import UsageError
from cvcache.node import plan, process_planners


def run_script(script: str, arguments: Iterable[str] = ()) -> plan:
    """Run a Python script as the interpreter would, in a plan, and return the plan.

    Raises
    ------
    UsageError
        If the script itself fails; with its traceback.
    """
    import runpy

    argv, path = sys.argv, list(sys.path)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    try:
        with plan() as planned:
            process_planners.append(planned)
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code not in {None, 0}:
            msg = f"{script} ended with {end.code!r}, so there is no plan"
            raise UsageError(msg) from end
    except Exception as error:
        lines = traceback.format_exception(error.with_traceback(_traceback_from(error.__traceback__, script)))
        msg = f"{script} failed, so there is no plan:\n{''.join(lines)}"
        raise UsageError(msg) from error
    finally:
        process_planners.remove(planned)
        sys.argv, sys.path[:] = argv, path
    return planned


def _traceback_from(tb: TracebackType | None, script: str) -> TracebackType | None:
    """Return the part of a traceback that starts in the script."""
    while tb is not None and tb.tb_next is not None and tb.tb_frame.f_code.co_filename != script:
        tb = tb.tb_next
    return tb
