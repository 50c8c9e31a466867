"""The decorator that makes a step of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol, overload

from cvcache.errors import UsageError
from cvcache.node import AsyncStep, CacheDir, Step
from cvcache.protocol import check_on_stale

Function = Callable[..., Any]


class Decorator(Protocol):
    """The type of ``step(...)``, which makes a step of a function."""

    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, None]], /) -> AsyncStep[CacheDir]: ...
    @overload
    def __call__(self, function: Callable[..., None], /) -> Step[CacheDir]: ...


@overload
def step(function: Callable[..., Coroutine[Any, Any, None]], /) -> AsyncStep[CacheDir]: ...
@overload
def step(function: Callable[..., None], /) -> Step[CacheDir]: ...
@overload
def step(
    *,
    name: str | None = None,
    version: str | int | None = None,
    ignore: Iterable[str] = (),
    depends: Iterable[object] = (),
    on_stale: str | None = None,
    log: str | None = "run.log",
) -> Decorator: ...
def step(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    version: str | int | None = None,
    ignore: Iterable[str] = (),
    depends: Iterable[object] = (),
    on_stale: str | None = None,
    log: str | None = "run.log",
) -> Any:
    """Make a function fill a node: ``node = function(root / "name", ...)``.

    The function takes the open node as its first argument and returns nothing; the call returns the
    committed node, computed now or read. It runs when its arguments, its code or the items it is given
    have changed, and says which. A method is a step too: what its instance holds counts as an argument. Calling an
    ``async def`` gives a coroutine, and its requests to the store run in another thread.

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
    on_stale : {"recompute", "error", "new"}, optional
        What a changed key does to the committed result, by default as the policy says; see `cdir_init`.
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
    for option, value in (("ignore", ignore), ("depends", depends)):
        if isinstance(value, str):
            msg = f"{option} takes a list, such as {option}=[{value!r}]"
            raise UsageError(msg)
    if on_stale is not None:
        check_on_stale(on_stale)

    def decorate(function: Function) -> Step[Any]:
        kind: type[Step[Any]] = AsyncStep if inspect.iscoroutinefunction(function) else Step
        return kind(function, name, version, tuple(ignore), tuple(depends), on_stale, log)

    return decorate if function is None else decorate(function)
