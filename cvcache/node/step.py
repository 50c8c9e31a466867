"""Functions that fill a node, and run only if it has no result for their key."""

from __future__ import annotations

import concurrent.futures
import contextvars
import functools
import inspect
import logging
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from types import MethodType
from typing import Any, Generic, Self, TypeVar, cast

from cvcache.errors import UnknownOption, UsageError, did_you_mean
from cvcache.keys import Canonical, canonical_code
from cvcache.logs import capture_log, capture_log_async
from cvcache.node.address import Handle, is_handle
from cvcache.node.finish import find_attempt, release_node
from cvcache.node.init import open_node
from cvcache.node.plan import plan
from cvcache.protocol import Attempt, acting_for_opener, check_on_stale

Function = Callable[..., Any]
R = TypeVar("R")
T = TypeVar("T")
N = TypeVar("N")
logger = logging.getLogger("cvcache")


class Step(Generic[R]):
    """A function and the options of its key; call it with a node and the arguments of the function."""

    __name__: str
    __qualname__: str

    def __init__(
        self,
        function: Function,
        name: str | None,
        version: str | int | None,
        ignore: tuple[str, ...],
        depends: tuple[object, ...],
        on_stale: str | None,
        log: str | None,
    ) -> None:
        _check_function(function)
        functools.update_wrapper(self, function)
        self._function = function
        self._name = name or function.__qualname__
        self._version = version
        self._ignore = ignore
        self._depends = depends
        self._init_options: dict[str, Any] = {"on_stale": on_stale}
        self._log = log
        self._defined: Step[R] = self  # itself, or the step that it is with other options
        self._signature = inspect.signature(function)
        self._positional, self._names, self._defaults = _simple_signature(self._signature)
        self._code = Canonical(None)
        self._check_ignore()

    def _check_ignore(self) -> None:
        parameters = list(inspect.signature(getattr(self._function, "__func__", self._function)).parameters)
        for name in self._ignore:
            if name not in parameters:
                hint = did_you_mean(name, parameters)
                msg = f"step {self._name!r} ignores {name!r}, which is no argument of it{hint}"
                raise UsageError(msg)

    def __get__(self, instance: object, owner: type | None = None) -> Self:
        """Return the step as a method of `instance`, which becomes part of the key."""
        if instance is None:
            return self
        method = MethodType(self._function, instance)
        on_stale = self._init_options["on_stale"]
        bound = type(self)(method, self._name, self._version, self._ignore, self._depends, on_stale, self._log)
        return bound if self._defined is self else bound.options(**self._init_options)

    def __call__(self, out: Handle, /, *args: Any, **kwargs: Any) -> R:
        """Return the committed node `out`, running the function if needed; of an async function, a coroutine."""
        return self._run(out, args, kwargs)

    def options(
        self, *, force: bool | str | None = None, on_stale: str | None = None, wait: bool | None = None
    ) -> Self:
        """Return this step with other options, for one call: ``add.options(force=True)(root / "sum", 1)``.

        The options are those of `cdir_init`, and no part of the key.

        Parameters
        ----------
        force : bool or "alone", optional
            Run the function in any case. What depends on its result runs again too; with ``"alone"`` the result keeps
            its version, so that nothing else does.
        on_stale : {"recompute", "error", "new"}, optional
            What a changed key does to the committed result.
        wait : bool, optional
            Whether to wait for a live owner.

        What neither this nor `step` says, the policy of the tree does.
        """
        given = {"force": force, "on_stale": on_stale, "wait": wait}
        options = {**self._init_options, **{name: value for name, value in given.items() if value is not None}}
        if on_stale is not None:
            check_on_stale(on_stale)
        other = object.__new__(type(self))
        vars(other).update(vars(self), _init_options=options)
        return other

    def why(self, out: Handle, /, *args: Any, **kwargs: Any) -> list[str]:
        """Return why a call would run the function, one difference a line; empty if its result would be read.

        Notes
        -----
        One LIST and one GET. Nothing is computed or written.
        """
        with plan() as planned:
            self._open(out, args, kwargs)
        return [line for row in planned.rows if row.action != "read" for line in row.reason]

    def key(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the key of a call with these arguments, which are those without the node."""
        arguments = self._arguments(args, kwargs)
        if self._ignore:
            arguments = {n: v for n, v in arguments.items() if n not in self._ignore}
        if isinstance(self._function, MethodType):
            instance = self._function.__self__  # its code is always part of the key: the function calls its methods
            arguments = {"self": type(instance) if "self" in self._ignore else instance, **arguments}
        key: dict[str, Any] = {"step": self._name, "args": arguments}
        if self._version is None:
            code = canonical_code(getattr(self._function, "__func__", self._function))  # an instance is an argument
            if self._code.value != code:
                self._code = Canonical(code)
            key["code"] = self._code
        else:
            key["version"] = self._version
        return {**key, "depends": list(self._depends)} if self._depends else key

    def __cvcache_code__(self) -> dict[str, Any]:
        """Return the code of this step in the key of another step that calls it."""
        own = {"__wrapped__": self._function} if self._version is None else {"version": self._version}
        return {"step": self._name, **own, "depends": list(self._depends)}

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return name -> value of every argument but the node, defaults included."""
        positional = dict(zip(self._positional, args, strict=False))
        if len(positional) == len(args) and positional.keys().isdisjoint(kwargs):
            arguments = {**self._defaults, **positional, **kwargs}
            if arguments.keys() == self._names:
                return arguments
        bound = self._bind(args, kwargs)
        bound.apply_defaults()
        first, *_ = self._signature.parameters
        return {n: v for n, v in bound.arguments.items() if n != first}

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        try:
            return self._signature.bind(None, *args, **kwargs)
        except TypeError as error:
            names = list(self._signature.parameters)[1:]
            hint = next((did_you_mean(name, names) for name in kwargs if name not in names), "")
            msg = f"step {self._name!r}: {error}{hint} (it takes: {', '.join(names) or 'the node only'})"
            raise UnknownOption(msg) from None

    def _open(self, out: Handle, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return a handle like `out`, with the result or open for writing."""
        if not is_handle(out):
            msg = (
                f"step {self._name!r} is called with the node to fill first, as in {self._name}(root / 'name', ...), "
                f"not {type(out).__name__}"
            )
            raise UsageError(msg)
        kind: Any = type(out)
        node = open_node(out.__cvcache_address__(), self.key(*args, **kwargs), **self._init_options)
        return kind(node.address, node)

    def _run(self, out: Handle, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        node = self._open(out, args, kwargs)
        if not node.committed:
            log = capture_log(_attempt(node), self._log, node.write) if self._log else nullcontext()
            with node, log:
                self._check_returned(self._function(node, *args, **kwargs))
        return cast("R", node)

    def _check_returned(self, returned: object) -> None:
        if inspect.iscoroutine(returned) or inspect.isgenerator(returned):
            returned.close()
            kind = type(returned).__name__
            msg = f"step {self._name!r} returned a {kind}, which nobody runs; a decorator hides what the function is"
            raise UsageError(msg)
        if returned is not None:
            logger.warning("step %r returned a value, which is not kept; write it with out.write()", self._name)

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        """Pickle a module's step by name, as functions are; one of a script or notebook by value, for cloudpickle."""
        if self._defined is not self:
            return _with_options, (self._defined, self._init_options)
        if isinstance(self._function, MethodType):
            return getattr, (self._function.__self__, self.__name__)
        by_name = self.__module__ != "__main__" and "<locals>" not in self.__qualname__
        return self.__qualname__ if by_name else super().__reduce_ex__(protocol)


class AsyncStep(Step[Coroutine[Any, Any, N]]):
    """A step whose function is a coroutine function."""

    async def _run(self, out: Handle, args: tuple[Any, ...], kwargs: dict[str, Any]) -> N:
        node = await _in_thread(
            lambda: self._open(out, args, kwargs), undo=lambda node: release_node(node.__cvcache_snapshot__())
        )
        if not node.committed:
            log = capture_log_async(_attempt(node), self._log, node.write) if self._log else nullcontext()
            async with node, log:
                self._check_returned(await self._function(node, *args, **kwargs))
        return cast("N", node)


def _attempt(node: Any) -> Attempt | None:
    return find_attempt(node.__cvcache_snapshot__())


def _with_options(defined: Step[R], options: dict[str, Any]) -> Step[R]:
    return defined.options(**options)


async def _in_thread(function: Callable[[], T], undo: Callable[[T], object]) -> T:
    """Run `function` in another thread for this task and return its result; `undo` it if the task was cancelled."""
    import asyncio

    with acting_for_opener() as opener_is_gone:
        context = contextvars.copy_context()
    # a pool of its own: all threads of the default one may wait for a node whose owner needs one of them
    pool = concurrent.futures.ThreadPoolExecutor(1, "cvcache-open")
    future = asyncio.get_running_loop().run_in_executor(pool, context.run, function)
    pool.shutdown(wait=False)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        opener_is_gone.set()
        future.add_done_callback(lambda done: done.cancelled() or done.exception() or undo(done.result()))
        raise


def _simple_signature(signature: inspect.Signature) -> tuple[list[str], set[str] | None, dict[str, Any]]:
    """Return positional parameters, all of them (None if only `bind` can tell), and defaults; without the node."""
    _, *rest = signature.parameters.values()
    positional = [parameter.name for parameter in rest if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    simple = len(positional) + sum(parameter.kind is parameter.KEYWORD_ONLY for parameter in rest) == len(rest)
    defaults = {parameter.name: parameter.default for parameter in rest if parameter.default is not parameter.empty}
    return positional, {parameter.name for parameter in rest} if simple else None, defaults


def _check_function(function: Any) -> None:
    """Raise `UsageError` for a function that a call would not run, or that takes no node."""
    if not callable(function) or isinstance(function, (type, Step)):
        msg = f"step decorates a function, not {function!r}; options are given by name, as in @step(version=2)"
        raise UsageError(msg)
    name = getattr(function, "__qualname__", None)
    if name is None:
        msg = f"step decorates a function, not {type(function).__name__}; write a function that calls it"
        raise UsageError(msg)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        msg = f"step {name!r} is a generator, so that calling it does not run it; make it a plain or async function"
        raise UsageError(msg)
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None or first.kind not in {first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD}:
        msg = f"step {name!r} has no argument for the node it fills; make it the first, as in def f(out, image): ..."
        raise UsageError(msg)


def _write_value(out: Any, name: str, fn: Function, options: dict[str, Any], unkeyed: dict[str, Any]) -> None:
    out.write(name, fn(), **options, **unkeyed)


write_value: Step[Any] = Step(_write_value, "cached", 1, ("unkeyed",), (), None, "run.log")
"""Write what a function returns as the one item of a node; options in `unkeyed` are no part of the key."""
