"""What a script would compute, and why, without computing it."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Token
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, cast

from cvcache.errors import NotComputed, UsageError
from cvcache.keys import key_differences
from cvcache.node import CacheDir, Commit, init
from cvcache.protocol import (
    LeaseWatch,
    NodeRequest,
    OnStale,
    Record,
    Refuse,
    Sibling,
    Use,
    Wait,
    claim_reasons,
    decide,
    describe_owner,
    new_id,
    observe_node,
    refusal_message,
    utc_timestamp,
    version_of,
)

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Planned:
    """One node a script asks for.

    Attributes
    ----------
    url : str
    action : str
        ``"read"``, ``"compute"``, or ``"wait"`` for another process that computes it.
    why : tuple of str
        Why it would be computed, one difference a line.
    seconds : float or None
        Duration of the last commit there.
    """

    url: str
    action: str
    why: tuple[str, ...] = ()
    seconds: float | None = None

    def __str__(self) -> str:
        reasons = f" ({'; '.join(self.why)})" if self.why else ""
        took = f", took {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.action:<8}{self.url}{reasons}{took}"


class plan:  # noqa: N801 - used like a function: ``with cvcache.plan() as p:``
    """List what the code in this context would compute and why; no step runs, nothing is written.

    Each node that would be computed gets a version, so that what depends on it is listed too. Where the
    code reads what only a real run computes, the plan ends: `ended` says where. Code under ``if not d.committed:`` is
    left out, that of a bare ``with cdir_init(...)`` runs up to its first write. Threads that the code starts are not in
    the context; those of a script that `cvcache plan` runs are. Removals and copies of nodes are really done.

    Attributes
    ----------
    rows : list of Planned
        In the order of the script.
    ended : str
        Where the plan had to end; empty if the code ran to its end.

    Notes
    -----
    One LIST and one GET a node.

    Examples
    --------
    >>> import cvcache
    >>> @cvcache.step
    ... def double(out, a):
    ...     out.write("double.json", 2 * a)
    >>> root = cvcache.cdir("memory://docs-plan/run")
    >>> with cvcache.plan() as planned:
    ...     node = double(root / "double", 21)
    >>> print(planned.rows[0])
    compute memory://docs-plan/run/double (first run)
    """

    def __init__(self) -> None:
        self.rows: list[Planned] = []
        self.ended = ""
        self._planned: dict[str, PlannedNode] = {}
        self._token: Token[Any] | None = None

    def __enter__(self) -> Self:
        self._token = init.planner.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        if self._token is not None:
            init.planner.reset(self._token)
        if not isinstance(error, NotComputed):
            return False
        frames = [f for f in traceback.extract_tb(tb) if _PACKAGE not in Path(f.filename).parents]
        where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
        self.ended = f"{where}{error}"
        return True

    def open_node(self, node: CacheDir, node_request: NodeRequest) -> CacheDir:
        """Return the committed node, or a planned one in place of the result it would get."""
        if node.url in self._planned:
            return self._open_again(self._planned[node.url], node_request)
        if not node.is_persistent:
            return self._compute(node, node_request, "compute", ["nothing is kept without a cache"], None)
        observation = observe_node(node.store, node.location, LeaseWatch(node.policy))
        decision = decide(observation, node_request.request._replace(wait=True))
        url, record = node.url, observation.record
        match decision:
            case Use():
                return self._read(node.pinned_to(cast("Record", record)))
            case Sibling():
                name = init.read_sibling_name(node.store, node.location, node_request)
                return self.open_node(node.sibling(name), node_request)
            case Refuse():
                raise decision.error(refusal_message(url, observation, decision.error, node_request))
            case Wait():
                return self._compute(node, node_request, "wait", [describe_owner(record)] if record else [], record)
        if (other := node.find_result_for(node_request)) is not None:
            return self._read(node.with_result_of(other))
        why = claim_reasons(observation, node_request)
        return self._compute(node, node_request, "compute", why, record)

    def has_opened(self, node: CacheDir) -> bool:
        """Whether `node` would be open for writing."""
        return node.url in self._planned

    def _read(self, node: CacheDir) -> CacheDir:
        self.rows.append(Planned(node.result_url, "read"))
        return node

    def _open_again(self, planned: PlannedNode, node_request: NodeRequest) -> CacheDir:
        """Return the answer for a node that is in this plan already."""
        same = node_request.request.digest in {None, planned.digest}
        if same and not node_request.request.force:
            return planned
        if not same and node_request.request.on_stale is OnStale.NEW:
            return self.open_node(
                planned.sibling(init.sibling_name(planned.name, planned.key, node_request)), node_request
            )
        why = key_differences(planned.key, node_request.key) or ["forced"]
        return self._compute(planned, node_request, "compute", why, None)

    def _compute(
        self, node: CacheDir, node_request: NodeRequest, action: str, why: list[str], previous: Record | None
    ) -> PlannedNode:
        seconds = previous.duration if previous is not None and previous.state == "committed" else None
        self.rows.append(Planned(node.url, action, tuple(why), seconds))
        self._planned[node.url] = planned = PlannedNode.for_request(node, node_request, tuple(why), previous)
        return planned


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
            init.process_planners.append(planned)
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
        init.process_planners.clear()
        sys.argv, sys.path[:] = argv, path
    return planned


def _traceback_from(tb: TracebackType | None, script: str) -> TracebackType | None:
    """Return the part of a traceback that starts in the script."""
    while tb is not None and tb.tb_next is not None and tb.tb_frame.f_code.co_filename != script:
        tb = tb.tb_next
    return tb


class PlannedNode(CacheDir):
    """A node that would be computed: it has a version for the keys of other nodes, and no items."""

    @classmethod
    def for_request(
        cls, node: CacheDir, node_request: NodeRequest, why: tuple[str, ...], previous: Record | None
    ) -> PlannedNode:
        """Return the committed node that `node_request` would make of `node`."""
        attempt = new_id()
        planned = cls(node._context, node.location, cast("tuple[PlannedNode, ...]", node._also))  # noqa: SLF001 - the same class
        planned._record = Record(
            seq=1,
            after="root",
            state="committed",
            attempt=attempt,
            nonce=attempt,
            time=utc_timestamp(),
            key=node_request.key,
            digest=node_request.request.digest,
            version=version_of(node_request, attempt, previous),
            inputs=node_request.sources().inputs,
            items={},
            reason=why,
        )
        planned._looked = planned._computed = True
        return planned

    @property
    def key(self) -> Any:
        """The canonical key it would have."""
        return self._record.key if self._record else None

    def _at(self, path: str, relative: str) -> CacheDir:  # type: ignore[override]  # nodes below it may exist
        return CacheDir(self._context, self.location, self._also)._at(path, relative)  # noqa: SLF001 - the same class

    def refresh(self) -> Self:
        return self

    def snapshot(self) -> Self:
        return self

    def with_context(self, **_: Any) -> Self:
        return self

    @property
    def state(self) -> str:
        return "absent"

    def finish(self, meta: object = None) -> Commit:  # noqa: ARG002 - nothing is stored
        return Commit.of(self._record)  # type: ignore[arg-type]  # set in for_request()

    def rows(self) -> NoReturn:
        msg = f"{self.url} would be computed, so nobody knows yet what it will hold; the plan ends here, run the script"
        raise NotComputed(msg)

    def _open_attempt(self) -> NoReturn:
        self.rows()

    def committed_rows(self) -> dict[str, Any]:
        return {}

    def log(self, name: str = "run.log") -> AbstractContextManager[None]:  # noqa: ARG002 - nothing happens in it
        return nullcontext()

    async def __aexit__(  # type: ignore[override]  # it swallows
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool:
        return self.__exit__(kind, error, tb)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:  # type: ignore[override]  # it swallows
        super().__exit__(kind, error, tb)
        return isinstance(error, NotComputed)
