"""A function that fills a node, run only when its result is not there already."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, overload

from cvcache.code import code_of
from cvcache.errors import UnknownOption, UsageError, did_you_mean
from cvcache.key import Canonical
from cvcache.node import CacheDir

Function = Callable[..., None]
logger = logging.getLogger("cvcache")


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

    __qualname__: str

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
        _check_function(function)
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
        """Return what must match for a result to be used again, given the arguments without the node."""
        bound = self._bind(args, kwargs)
        bound.apply_defaults()
        first, *_ = self._signature.parameters
        arguments = {n: v for n, v in bound.arguments.items() if n != first and n not in self._ignore}
        key: dict[str, Any] = {"step": self._name, "args": arguments}
        if self._version is None:
            key["code"] = Canonical(code_of(self._function))
        else:
            key["version"] = self._version
        return {**key, "depends": list(self._depends)} if self._depends else key

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        try:
            return self._signature.bind(None, *args, **kwargs)
        except TypeError as error:
            known = list(self._signature.parameters)[1:]
            hint = next((did_you_mean(name, known) for name in kwargs if name not in known), "")
            msg = f"step {self._name!r}: {error}{hint} (it takes: {', '.join(known) or 'the node only'})"
            raise UnknownOption(msg) from None

    def _run(self, out: object, args: tuple[Any, ...], kwargs: dict[str, Any], *, force: bool) -> CacheDir:
        if not isinstance(out, CacheDir):
            msg = (
                f"step {self._name!r} is called with the node to fill first, as in {self._name}(root / 'name', ...), "
                f"not {type(out).__name__}"
            )
            raise UsageError(msg)
        node = out.init(self.key(*args, **kwargs), on_stale=self._on_stale, force=force)
        if node.committed:
            return node
        with node, node.log(self._log) if self._log else contextlib.nullcontext():
            returned: object = self._function(node, *args, **kwargs)
            if returned is not None:
                logger.warning("step %r returned a value, which is not kept; write it with out.write()", self._name)
        return node

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        """Pickle a module's step by name, as functions are; one of a script or notebook by value, for cloudpickle."""
        by_name = self.__module__ != "__main__" and "<locals>" not in self.__qualname__
        return self.__qualname__ if by_name else super().__reduce_ex__(protocol)


def _check_function(function: Any) -> None:
    """Refuse what would be called without being run, or has no place for the node."""
    if not callable(function) or isinstance(function, (type, Step)):
        msg = f"step decorates a function, not {function!r}; options are given by name, as in @step(version=2)"
        raise UsageError(msg)
    name = getattr(function, "__qualname__", repr(function))
    if any(is_lazy(function) for is_lazy in _LAZY):
        msg = f"step {name!r} is async or a generator, so that calling it does not run it; make it a plain function"
        raise UsageError(msg)
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None or first.kind not in {first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD}:
        msg = f"step {name!r} has no argument for the node it fills; make it the first, as in def f(out, image): ..."
        raise UsageError(msg)


_LAZY = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
