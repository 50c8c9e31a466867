"""The command line: thin, quick to start, for a terminal and for a pipe.

Exit codes: 0 done; 1 an error, printed on stderr; 2 a wrong call; 3 no such node or item. `show` also returns the
state of the node: 4 running, 5 failed, 6 stale; `logs -f` does so when the step has ended.
"""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from cvcache.browse import strip_controls
from cvcache.cli.terminal import print_error, print_json, print_line, progress, set_up_output
from cvcache.errors import CvcacheError, ItemNotFound, UsageError
from cvcache.node import address_of, current_state, item_io, read_snapshot
from cvcache.store import child_names, parse_storage_option

if TYPE_CHECKING:
    from cvcache.node import Address, CacheDir, Handle, Snapshot

F = TypeVar("F", bound=Callable[..., Any])

EXIT_ABSENT = 3
EXIT_CODES = {
    "committed": 0,
    "absent": EXIT_ABSENT,
    "running": 4,
    "failed": 5,
    "stale": 6,
    "folder": 0,
    "foreign": EXIT_ABSENT,
}


def _parse_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return storage options from ``name=value`` words; a value may be JSON."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            msg = f"-o takes name=value, such as -o anon=true, not {pair!r}"
            raise click.UsageError(msg)
        options[name] = parse_storage_option(text)
    return options


def _common_options(function: F) -> F:
    """Add the options that every command takes."""
    function = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)
    return click.option("-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="A storage option.")(
        function
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cvcache")
def cli() -> None:
    """Look at, and into, a tree of cached intermediate results."""


@cli.command()
@click.argument("url", default="./cvcache-demo")
@click.option("--image", metavar="PATH_OR_URL", help="Your own TIFF, PNG, JPEG or OME-Zarr, gray or RGB.")
@click.option("--sigma", type=click.FloatRange(min=0), default=1.5, show_default=True, help="Smoothing, in pixels.")
@click.option("--smallest", type=click.IntRange(min=1), default=30, show_default=True, help="Pixels of a nucleus.")
@_common_options
def demo(url: str, image: str | None, sigma: float, smallest: int, options: tuple[str, ...], *, as_json: bool) -> None:
    """Count the nuclei of a stained tissue section, every step kept in a tree at URL."""
    from cvcache.cli.demo import pipeline
    from cvcache.cli.demo_image import image_version
    from cvcache.tree import cdir, read_tree

    root = cdir(url, **_parse_options(options))
    started = time.monotonic()
    computed = nodes = 0
    with _report_failure(root), progress(quiet=as_json) as report, redirect_stdout(sys.stderr):
        for node in pipeline(root, image, image_version(image, root), sigma, smallest):
            nodes += 1
            computed += node.computed
            why = "; ".join(node.reason)
            report(f"{node.name}: {f'computed ({why})' if node.computed else 'read'}")
    tree = read_tree(root)
    if as_json:
        print_json({"computed": computed, "read": nodes - computed, "tree": _tree_json(tree)})
        return
    _print_tree(tree)
    summary = f"{computed} of {nodes} nodes computed" if computed else f"nothing to compute: {nodes} nodes read"
    click.echo(f"{summary} in {time.monotonic() - started:.1f} s; look at them with: cvcache tree {root.url}")


@contextmanager
def _report_failure(root: CacheDir) -> Iterator[None]:
    """Print in one sentence that a step failed, and where its traceback is."""
    try:
        yield
    except CvcacheError:
        raise
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            msg = f"{root.url}: {error.strerror}; free some and run the same command again, what was committed stays"
            raise OSError(msg) from error
        raise
    except ImportError as error:
        msg = f"{error}; the demo works with what this brings: pip install 'cvcache[demo]'"
        raise ImportError(msg) from error
    except Exception as error:  # noqa: BLE001 - a step may raise anything
        from cvcache.tree import read_tree

        failed = [entry.node.url for entry in read_tree(root).walk() if entry.state == "failed"]
        print_error(f"{type(error).__name__}: {error}")
        for url in failed:
            print_error(f"{url} failed; its log has the traceback: cvcache logs {url}")
        sys.exit(1)


@cli.command()
@click.argument("url")
@click.option("--depth", type=click.IntRange(min=0), help="Levels below URL to show.")
@_common_options
def tree(url: str, depth: int | None, options: tuple[str, ...], *, as_json: bool) -> None:
    """Show the nodes at and below URL: state, items, shape, size, time."""
    from cvcache.tree import read_tree

    top = read_tree(url, depth=depth, **_parse_options(options))
    present = bool(top.children) or top.state not in {"absent", "folder"} or (depth == 0 and bool(_children(top.node)))
    if as_json:
        print_json(_tree_json(top))
    elif present:
        _print_tree(top)
    if not present:
        _exit_absent(top.node)


def _read_node(url: str, options: tuple[str, ...]) -> Snapshot:
    from cvcache.tree import resolve_address

    return read_snapshot(resolve_address(url, **_parse_options(options)))


def _children(node: Snapshot) -> tuple[str, ...]:
    return child_names(node.store.list(node.path).dirs)


@cli.command("ls")
@click.argument("url")
@_common_options
def list_(url: str, options: tuple[str, ...], *, as_json: bool) -> None:
    """List the items and the child nodes of the node at URL."""
    node = _read_node(url, options)
    rows, children = item_io.read_rows(node), _children(node)
    if as_json:
        print_json(
            {
                "url": node.url,
                "state": current_state(node),
                "committed": node.committed,
                "items": {k: dict(v) for k, v in rows.items()},
                "children": list(children),
            }
        )
    else:
        from cvcache.cli.text import item_line

        for name, row in sorted(rows.items()):
            print_line(item_line(name, row))
        for name in children:
            print_line(f"{name}/")
        _print_standing(node)
    if node.state == "absent" and not children:
        _exit_absent(node)


@cli.command()
@click.argument("url")
@_common_options
def show(url: str, options: tuple[str, ...], *, as_json: bool) -> None:
    """Show one node: state, when and where it was made, key, items. The exit code tells the state."""
    from cvcache.cli.text import node_json, node_text

    node = _read_node(url, options)
    report = node_json(node)
    if as_json:
        print_json(report)
    else:
        click.echo(node_text(node, report))
    sys.exit(EXIT_CODES[report["state"]])


@cli.command()
@click.argument("url")
@click.argument("item")
@_common_options
def path(url: str, item: str, options: tuple[str, ...], *, as_json: bool) -> None:
    """Print where ITEM of the node at URL lies, for another tool to open."""
    node = _read_node(url, options)
    meta, place = item_io.item_row(node, item), item_io.item_url(node, item)
    if as_json:
        print_json({"path": place, **meta})
    else:
        print_line(place)


@cli.command()
@click.argument("url")
@click.option("--name", default="run.log", show_default=True, help="Which log.")
@click.option("-f", "--follow", is_flag=True, help="Print what comes until the step has ended.")
@_common_options
def logs(url: str, name: str, options: tuple[str, ...], *, follow: bool, as_json: bool) -> None:
    """Print the log of the node at URL, also while its step runs, and of an attempt that failed or died."""
    from cvcache.logs import read_log
    from cvcache.tree import resolve_address

    if follow:
        _follow(resolve_address(url, **_parse_options(options)), name, as_json=as_json)
    node = _read_node(url, options)
    if node.state == "absent":
        _exit_absent(node)
    newest = node.newest_attempt
    text = read_log(node.store, node.path, newest.record, name, lambda item: item_io.read_item(newest, item, {}))
    if not isinstance(text, str):
        msg = f"{node.url}/{name} is no text; cvcache path {node.url} {name} says where it lies"
        raise click.UsageError(msg)
    if as_json:
        print_json({"url": node.url, "state": current_state(node), "log": text})
    else:
        click.echo(strip_controls(text), nl=False)


def _follow(node: Address, name: str, *, as_json: bool) -> NoReturn:
    """Print a log as it grows; as JSON one object a line, the last one with the state."""
    from cvcache.logs import iter_log

    notice = f"{node.url} is not computed yet; waiting for it"
    parts = iter_log(node.store, node.path, name, on_waiting=lambda: print_error(notice))
    while True:
        try:
            part = next(parts)
        except StopIteration as end:
            if as_json:
                print_line(json.dumps({"url": node.url, "state": end.value}))
            sys.exit(EXIT_CODES[end.value])
        if as_json:
            print_line(json.dumps({"log": part}))
        else:
            click.echo(strip_controls(part), nl=False)


@cli.command()
@click.argument("url")
@click.option("-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="A storage option.")
def view(url: str, options: tuple[str, ...]) -> None:
    """Show the tree, or the image, at URL in a napari window."""
    from cvcache.cli.view import view as show_window

    show_window(url, _parse_options(options))


@cli.command()
@click.argument("url")
@_common_options
def why(url: str, options: tuple[str, ...], *, as_json: bool) -> None:
    """Say why the node at URL was computed last."""
    node = _read_node(url, options)
    if as_json:
        report = {"url": node.url, "state": current_state(node), "committed": node.committed}
        print_json({**report, "reason": list(node.reason)})
    else:
        for reason in node.reason:
            print_line(reason)
        _print_standing(node)
    if not node.reason:
        _exit_absent(node)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1)
def plan(script: str, arguments: tuple[str, ...], *, as_json: bool) -> None:
    """Say what SCRIPT would compute, and why: its steps do not run, everything else in it does.

    What the script prints goes to stderr.
    """
    from cvcache.tree import run_script

    with redirect_stdout(sys.stderr):
        planned = run_script(script, arguments)
    if as_json:
        rows = [
            {"url": r.url, "action": r.action, "reason": list(r.reason), "seconds": r.seconds} for r in planned.rows
        ]
        print_json({"nodes": rows, "ended": planned.ended or None})
        return
    for row in planned.rows:
        print_line(str(row))
    if planned.ended:
        print_line(planned.ended)
    computed = sum(row.action == "compute" for row in planned.rows)
    print_line(f"{computed} of {len(planned.rows)} nodes would be computed")


@cli.command()
@click.argument("url")
@_common_options
def verify(url: str, options: tuple[str, ...], *, as_json: bool) -> None:
    """Read all that was committed at URL and below it; exit with 1 if something is damaged."""
    from cvcache.tree import cdir_verify, directory_state, resolve_address

    top = resolve_address(url, **_parse_options(options))
    if directory_state(top) in {"absent", "foreign"}:
        _exit_absent(top)
    damages = cdir_verify(top)
    if as_json:
        rows = [{"url": d.node.url, "item": d.item, "part": d.part, "fault": d.fault} for d in damages]
        print_json({"url": top.url, "damaged": rows})
    else:
        for damage in damages:
            print_line(str(damage))
        print_line(f"{len(damages)} damaged" if damages else "all that was committed is there")
    if damages:
        sys.exit(1)


def _print_standing(node: Snapshot) -> None:
    """Print on stderr which result stands, if the newest attempt is another one that runs or failed."""
    if (text := node.state_text()) != node.state:
        print_error(f"{node.url}: {text}")


def _exit_absent(node: Handle) -> NoReturn:
    from cvcache.tree import directory_state

    url = address_of(node).url
    hint = {
        "folder": f"; there are nodes below it: cvcache tree {url}",
        "foreign": ", only data that cvcache did not write",
    }
    print_error(f"there is no node at {url}{hint.get(directory_state(node), '')}")
    sys.exit(EXIT_ABSENT)


def _tree_json(entry: Any) -> dict[str, Any]:
    from cvcache.cli.text import entry_json

    return entry_json(entry)


def _print_tree(entry: Any) -> None:
    from cvcache.cli.text import tree_lines

    for line in tree_lines(entry):
        print_line(line)


def main() -> None:
    """Run the command line; an error of cvcache or of the store is one sentence, not a traceback."""
    set_up_output()
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        print_error("interrupted; what was committed stays, and the same command goes on from there")
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except ItemNotFound as error:
        print_error(error)
        sys.exit(EXIT_ABSENT)
    except UsageError as error:
        print_error(error)
        sys.exit(2)
    except (CvcacheError, OSError, ImportError) as error:
        print_error(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
