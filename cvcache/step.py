"""A function that fills a node, run only when its result is not there already."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, overload

from cvcache.errors import UsageError, did_you_mean
from cvcache.node import CacheDir

Function = Callable[..., None]


@overload
def step(function: Function, /) -> Step: ...
@overload
def step(
    *,
    name: str | None = None,
    version: str | int | None = None,
    ignore: Iterable[str] = (),
    depends: Iterable[object] = (),
    on_stale: str = "recompute",
    log: str | None = "run.log",
) -> Callable[[Function], Step]: ...
def step(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    version: str | int | None = None,
    ignore: Iterable[str] = (),
    depends: Iterable[object] = (),
    on_stale: str = "recompute",
    log: str | None = "run.log",
) -> Step | Callable[[Function], Step]:
    """Make a function fill a node: ``node = function(root / "name", ...)``.

    The function takes the open node as its first argument and returns nothing; the call returns the
    committed node, computed now or read. It runs when its arguments, its code or the items it is given
    have changed, and says which.

    Parameters
    ----------
    name : str, optional
        What the step is called in keys, by default the function's qualified name.
    version : str or int, optional
        Stands for the code: the step runs again when this changes, not when the code does.
    ignore : iterable of str
        Names of arguments that do not matter for the result.
    depends : iterable
        Further functions or values whose change must run the step again.
    on_stale : {"recompute", "error", "new"}
        What a changed key does to the committed result; see `cdir_init`.
    log : str or None
        Name of the item that keeps what the step logs and prints.

    Examples
    --------
    >>> import cvcache
    >>> @cvcache.step
    ... def add(out, a, *, b=1):
    ...     out.write("sum.json", a + b)
    >>> root = cvcache.cdir("memory://docs-step/run")
    >>> add(root / "sum", 1, b=2).read("sum.json")
    3
    """

    def decorate(function: Function) -> Step:
        return Step(function, name, version, tuple(ignore), tuple(depends), on_stale, log)

    return decorate if function is None else decorate(function)


class Step:
    """A function with what its key needs; call it with a node and the function's arguments."""

    def __init__(
        self,
        function: Function,
        name: str | None,
        version: str | int | None,
        ignore: tuple[str, ...],
        depends: tuple[object, ...],
        on_stale: str,
        log: str | None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._name = name or function.__qualname__
        self._version = version
        self._ignore = ignore
        self._depends = depends
        self._on_stale = on_stale
        self._log = log
        self._signature = inspect.signature(function)
        self._check_ignore()

    def _check_ignore(self) -> None:
        known = list(self._signature.parameters)[1:]
        for name in self._ignore:
            if name not in known:
                msg = f"step {self._name!r} ignores {name!r}, which is no argument of it{did_you_mean(name, known)}"
                raise UsageError(msg)

    def __call__(self, out: CacheDir, /, *args: Any, **kwargs: Any) -> CacheDir:
        """Return the committed node `out`, running the function if it has to."""
        return self._run(out, args, kwargs, force=False)

    def force(self, out: CacheDir, /, *args: Any, **kwargs: Any) -> CacheDir:
        """Run the function in any case; what depends on its result runs again too."""
        return self._run(out, args, kwargs, force=True)

    def key(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the plain values that must match for a result to be used again, given the arguments without the node."""
        bound = self._signature.bind(None, *args, **kwargs)
        bound.apply_defaults()
        first, *_ = self._signature.parameters
        arguments = {n: v for n, v in bound.arguments.items() if n != first and n not in self._ignore}
        key: dict[str, Any] = {"step": self._name, "args": arguments}
        if self._version is None:
            key["code"] = self._function
        else:
            key["version"] = self._version
        return {**key, "depends": list(self._depends)} if self._depends else key

    def _run(self, out: object, args: tuple[Any, ...], kwargs: dict[str, Any], *, force: bool) -> CacheDir:
        if not isinstance(out, CacheDir):
            msg = f"step {self._name!r} is called with the node to fill first, as in {self._name}(root / 'name', ...), not {type(out).__name__}"
            raise UsageError(msg)
        node = out.init(self.key(*args, **kwargs), on_stale=self._on_stale, force=force)
        if node.committed:
            return node
        with node:
            if self._log is None:
                self._function(node, *args, **kwargs)
            else:
                with node.log(self._log):
                    self._function(node, *args, **kwargs)
        return node
