"""What a worker can be told to do. Each task reports as it goes; its arguments are plain JSON values."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import fcntl
import logging
import os
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cvcache
from cvcache import CacheDir, Policy, cdir, cdir_commit, cdir_init, cdir_query, cdir_remove
from cvcache.errors import CvcacheError, LeaseLost
from cvcache.node import snapshot_of
from cvcache.store import instrument, layout
from processes import content
from processes.doom import Doom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Report = Callable[..., None]

__all__ = ["TASKS"]

_WATCH_NAP = 0.005
_MOST_WRONG = 5
"""Examples are enough, and a report is short."""


def fill(
    report: Report,
    *,
    url: str,
    key: Any = None,
    policy: Mapping[str, Any],
    doom: Mapping[str, Any] | None = None,
    work: Mapping[str, Any] | None = None,
) -> None:
    """Want a node: fill and commit it if it falls to this process, and read it as it is in the end."""
    logging.getLogger("cvcache").setLevel(logging.ERROR)
    with _doomed(doom, report):
        report("asking")
        node = cdir_init(url, key, policy=_policy(**policy))
        computed = not node.committed
        if computed:
            report("claimed", attempt=node.version)
            _labour(node, report, **(work or {"kind": "none"}))
            content.write_items(node)
            cdir_commit(node)
        assert node.commit is not None
        report(
            "done", computed=computed, attempt=snapshot_of(node).record.attempt, wrong=content.judge(node)[:_MOST_WRONG]
        )


def watch(report: Report, *, url: str, until: str, plain: bool) -> None:
    """Read whatever is committed, over and over, until a file appears; on wish look at the plain files too."""
    counts = dict.fromkeys(("polls", "reads", "replaced"), 0)
    wrong: list[str] = []
    report("watching")
    last = stands = False
    while not last:
        # the look after the end of everything else is the one that counts most
        last = Path(until).exists()
        counts["polls"] += 1
        node = cdir_query(url)
        try:
            if node.committed:
                stands = True
                wrong += content.judge(node)
                counts["reads"] += 1
            elif stands:
                wrong.append("nothing stands where something was committed")
            wrong += content.judge_files(url) if plain else []
        except CvcacheError as error:
            if not content.honest(error):
                raise
            counts["replaced"] += 1
        time.sleep(_WATCH_NAP)
    report("watched", wrong=wrong[:_MOST_WRONG], wrongs=len(wrong), **counts)


def race(report: Report, *, nodes: list[tuple[str, str]], policy: Mapping[str, Any], options: dict[str, Any]) -> None:
    """Want one node after another, each as soon as its gate opens."""
    logging.getLogger("cvcache").setLevel(logging.ERROR)
    for number, (gate, url) in enumerate(nodes):
        node = cdir(url, policy=_policy(**policy), **options)
        # the first look connects, so that the race is about the node and not about the connection
        cvcache.cdir_query(node)
        with Path(gate).open(encoding="utf-8") as file:
            report("ready", round=number)
            fcntl.flock(file, fcntl.LOCK_SH)
        node = cvcache.cdir_init(node, {"round": number})
        if not node.committed:
            mark = node.version
            node.write("winner.json", {"mark": mark})
            node.write("notes.txt", mark * 100)
            cdir_commit(node)
            report("computed", round=number, mark=mark)
        record = snapshot_of(node).record
        assert record is not None
        good = (node.read("winner.json"), node.read("notes.txt")) == ({"mark": record.attempt}, record.attempt * 100)
        report("read", round=number, mark=record.attempt, good=good)


def zombie(report: Report, *, url: str, key: Any = None, policy: Mapping[str, Any], doom: Mapping[str, Any]) -> None:
    """Own a node, be stopped on the way, and go on after waking as if nothing had happened, fence or no fence."""
    logging.getLogger("cvcache").setLevel(logging.CRITICAL)
    lost = 0
    with _doomed(doom, report):
        node = cdir_init(url, key, policy=_policy(**policy))
        attempt = snapshot_of(node).attempt
        assert attempt is not None, "the node was to fall to the first who asks"
        root = attempt.root
        for act in (lambda: content.write_items(node), lambda: cdir_commit(node)):
            try:
                act()
            except LeaseLost:
                lost += 1
        # what its own code would do if it had no fence at all
        for name in ("table.json", "block.bin", "run.log", *(f"cells.pieces.dir/{n}/piece" for n in range(9))):
            attempt.store.put(f"{root}/{name}", b"written by a zombie")
        attempt.store.put(layout.inventory_path(attempt.path, attempt.id), b"{}")
        try:
            cdir_commit(node)
        except LeaseLost:
            lost += 1
        report("lost", times=lost, committed=attempt.outcome is not None, root=attempt.record.root)
        again = cdir_init(url, key, policy=_policy(ttl=60))
        assert again.commit is not None, "another's result is there, and is not computed again"
        report("done", attempt=snapshot_of(again).record.attempt, wrong=content.judge(again)[:_MOST_WRONG])


def headless(report: Report, *, url: str, policy: Mapping[str, Any], beats: int) -> None:
    """Own a node from a thread that outlives the first one of its process."""

    def own() -> None:
        node = cdir_init(url, policy=_policy(**policy))
        report("headless")
        _labour(node, report, kind="quiet", beats=beats)
        content.write_items(node)
        cdir_commit(node)
        report("done")

    threading.Thread(target=own).start()
    number_of_exit = 60 if os.uname().machine == "x86_64" else 93
    ctypes.CDLL(None).syscall(number_of_exit, 0)


def remover(report: Report, *, url: str, policy: Mapping[str, Any], doom: Mapping[str, Any]) -> None:
    """Remove a node, and be stopped on the way."""
    with _doomed(doom, report):
        cdir_remove(cdir(url, policy=_policy(**policy)))
    report("done")


def fill_many(
    report: Report,
    *,
    urls: list[str],
    policy: Mapping[str, Any],
    options: dict[str, Any],
    direct: dict[str, Any],
    pieces: int,
    threads: int,
    seed: int,
) -> None:
    """Want many nodes from several threads through one way, and check each by another."""
    logging.getLogger("cvcache").setLevel(logging.CRITICAL)
    urls = random.Random(seed).sample(urls, len(urls))

    def want(url: str) -> tuple[bool, list[str]]:
        node = cvcache.cdir_init(cdir(url, policy=_policy(**policy), **options), {"many": 1})
        computed = not node.committed
        if computed:
            content.write_items(node, pieces)
            cdir_commit(node)
        wrong = content.judge(node, pieces)
        if computed:
            wrong += content.judge(cvcache.cdir_query(cdir(url, **direct)), pieces)
        return computed, wrong

    errors: list[str] = []
    computed = 0
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for url, future in [(url, pool.submit(want, url)) for url in urls]:
            try:
                mine, wrong = future.result()
            except Exception as error:  # noqa: BLE001  # all are counted, and the test wants none
                errors.append(f"{url}: {type(error).__name__}: {error}"[:300])
            else:
                computed += mine
                errors += wrong
    report("done", computed=computed, errors=len(errors), examples=errors[:_MOST_WRONG])


def _labour(node: CacheDir, report: Report, *, kind: str, beats: int = 0) -> None:
    """Compute for some heartbeats: quietly, or with every thread hungry for the interpreter's lock."""
    attempt = snapshot_of(node).attempt
    assert attempt is not None
    if kind == "none":
        return
    done = threading.Event()

    def hungry() -> None:
        while not done.is_set():
            # both ways to hold the lock: many short steps, and one long call that does not let go of it
            sum(number * number for number in range(20_000))
            sum(range(200_000))

    threads = [threading.Thread(target=hungry) for _ in range(4 if kind == "hungry" else 0)]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    while attempt._beat_count < beats and not attempt.lost:
        time.sleep(0.01)
    done.set()
    for thread in threads:
        thread.join()
    report("laboured", beats=attempt._beat_count, seconds=time.monotonic() - started)


def _policy(ttl: float = 60.0, request_timeout: float = 10.0, nap: float = 10.0) -> Policy:
    """Give a policy whose waits between two looks are at most `nap` long."""
    return Policy(ttl=ttl, request_timeout=request_timeout, sleep=lambda seconds: time.sleep(min(seconds, nap)))


def _doomed(doom: Mapping[str, Any] | None, report: Report) -> contextlib.AbstractContextManager[None]:
    return instrument(Doom(report=report, **doom).wrap) if doom else contextlib.nullcontext()


TASKS: dict[str, Callable[..., None]] = {
    task.__name__: task for task in (fill, watch, race, zombie, headless, remover, fill_many)
}
