"""Make the picture of a terminal that the documentation shows: real commands, run in a terminal.

    python docs/screenshots/terminal.py [FOLDER]

FOLDER is where the picture goes, by default the one this file lies in. Needs ``pip install ".[all]"``, and no display.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

COLUMNS = 104
COMMANDS = ("cvcache demo", "cvcache demo --sigma 3")
FONT = "ui-monospace, 'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"


def main() -> None:
    """Make the picture."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    with lab() as place:
        screen = "\n".join(f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m\n{run(command, place)}" for command in COMMANDS)
    path = folder / "terminal.svg"
    path.write_text(picture(screen), encoding="utf-8")
    print(path)


@contextmanager
def lab() -> Iterator[Path]:
    """Yield an empty folder for the time of a ``with``; its name is short, unless somebody has that one."""
    place = Path(tempfile.gettempdir(), "lab")
    if place.exists():
        place = Path(tempfile.mkdtemp(), "lab")
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place)


def run(command: str, place: Path) -> str:
    """Run a command as a terminal does, and return what it leaves on the screen, colours included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    left_out = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), environment["PATH"]])
    process = subprocess.Popen(  # noqa: S603 - one of COMMANDS
        shlex.split(command),
        cwd=place,
        env={**environment, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b"".join(chunks(ours))
    os.close(ours)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command, shown)
    return at_the_end(shown.decode())


def chunks(terminal: int) -> Iterator[bytes]:
    """Yield what a terminal is sent, until nobody can write to it any more."""
    while True:
        try:
            yield os.read(terminal, 1 << 16)
        except OSError:  # Linux says so that the other side is closed
            return


def at_the_end(shown: str) -> str:
    """Take out what was erased again: the line that turns while a step works."""
    shown = re.sub(r"\x1b\[\?25[hl]", "", shown)
    shown = re.sub(r"[^\n]*\n\r\x1b\[1A\x1b\[2K", "", shown)
    return re.sub(r"[^\n]*\r\x1b\[2K", "", shown).replace("\r\n", "\n")


def picture(screen: str) -> str:
    """Draw a screen as SVG that loads no font from elsewhere; a run of text has its width, whatever font there is."""
    form = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = re.sub(r"font-family: [^;]*;", f"font-family: {FONT};", form)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(screen), end="")
    drawn = console.export_svg(title="", code_format=form, unique_id="terminal")
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


if __name__ == "__main__":
    main()
