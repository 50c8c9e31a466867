"""Output to a terminal or a pipe: text, JSON, progress, and errors of one sentence."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from cvcache.browse import strip_controls


def print_line(text: str) -> None:
    """Print one line of a report."""
    click.echo(strip_controls(text))


def print_json(value: object) -> None:
    """Print JSON without control characters; json itself escapes only those below 0x20."""
    text = json.dumps(value, indent=2, default=str, ensure_ascii=False)
    click.echo(re.sub(r"[\x7f-\x9f]", lambda match: f"\\u{ord(match[0]):04x}", text))


def print_error(text: object) -> None:
    """Print an error on stderr."""
    click.echo(strip_controls(f"cvcache: {text}"), err=True)


def set_up_output() -> None:
    """Print the warnings of cvcache and of no other library; escape characters that the terminal cannot encode."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("cvcache: %(message)s"))
    logging.getLogger("cvcache").addHandler(handler)
    logging.getLogger().addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that reports a finished step: above a live line on a terminal, else as plain lines."""
    if quiet:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield lambda text: click.echo(strip_controls(text), err=True)
    else:
        from rich.console import Console

        console = Console(stderr=True)
        with console.status("working"):
            yield lambda text: console.print(strip_controls(text), highlight=False, markup=False)
