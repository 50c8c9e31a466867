"""The code of a function: what must change its digest does, what must not does not."""

from __future__ import annotations

import ast
import functools
import importlib
import linecache
import math
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from interpreters import path_of_cvcache, pythons

from cvcache.errors import UnkeyableValue
from cvcache.keys import canonical_key, key_differences, register_key
from cvcache.keys.functions import canonical_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Write modules (``pkg__part`` is the module ``pkg.part``), import them anew and return the first."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def forget() -> None:
        for name in set(sys.modules) - before:
            if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]

    def load(**sources: str) -> Any:
        forget()
        for name, source in sources.items():
            file = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            file.parent.mkdir(exist_ok=True)
            if file.parent != tmp_path:
                (file.parent / "__init__.py").touch()
            file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        return importlib.import_module(next(iter(sources)).replace("__", "."))

    yield load
    forget()


STEP = """
SIGMA = 3

def smooth(image):
    return image * SIGMA

def step(out, image, *, level=1):
    edges = smooth(image) > level
    return edges
"""


@pytest.mark.parametrize(
    "source",
    [
        "# a comment above\n\n\n" + STEP,
        STEP.replace("level=1):", 'level=1):\n    """Find edges."""').replace("(image):", "(image):\n    'Smooth.'"),
        STEP.replace("smooth(image) > level", "(\n        smooth( image )   # twice\n        > level )"),
        STEP.replace("(out, image, *, level=1)", "(out: object, image: 'Array', *, level: int = 1) -> bool"),
        STEP.replace("edges =", "edges: bool ="),
        STEP.replace("SIGMA = 3", "SIGMA: int = 1 + 2  # pixels"),
        STEP + "\ndef another():\n    return step\n",
        "import cvcache\n" + STEP.replace("def smooth", "@cvcache.step\ndef smooth"),
        "from cvcache import step as st\n" + STEP.replace("def smooth", "@st(version='3')\ndef smooth"),
    ],
)
def test_what_does_not_change_the_result_does_not_change_the_code(load: Callable[..., Any], source: str) -> None:
    before = canonical_code(load(pipeline=STEP).step)
    after = canonical_code(load(pipeline=source).step)
    if "version=" in source:  # which stands for the code of the step within
        assert after["uses"] == {}
        return
    if "cvcache" in source:  # a step within a step is a function that a decorator wraps
        assert after["uses"].keys() == before["uses"].keys() | after["uses"].keys()
        after, before = (code["uses"]["smooth"] for code in (after, before))
    assert after == before


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("> level", ">= level", ["code: changed (body)"]),
        ("level=1", "level=2", ["code: changed (body)"]),
        ("level=1", "level=1.0", ["code: changed (body)"]),
        ("image * SIGMA", "image + SIGMA", ["code: changed (helper smooth)"]),
        ("SIGMA = 3", "SIGMA = 4", ["code: changed (constant SIGMA: 3 -> 4)"]),
        ("SIGMA = 3", "SIGMA = 3.0", ["code: changed (constant SIGMA: 3 -> 3.0)"]),
        ("SIGMA = 3", "def SIGMA(): pass", ["code: changed (SIGMA is now a helper)"]),
    ],
)
def test_what_changes_the_result_changes_the_code_and_is_named(
    load: Callable[..., Any], old: str, new: str, lines: list[str]
) -> None:
    before = canonical_key({"code": load(pipeline=STEP).step})
    after = canonical_key({"code": load(pipeline=STEP.replace(old, new)).step})
    assert key_differences(before, after) == lines


def test_the_file_and_the_module_do_not_count(load: Callable[..., Any]) -> None:
    assert (
        canonical_code(load(pipeline=STEP).step)
        == canonical_code(load(other=STEP).step)
        == canonical_code(load(pkg__deep=STEP).step)
    )


def test_a_script_and_the_same_module_imported_agree(load: Callable[..., Any], tmp_path: Path) -> None:
    helpers = "def sharpen(image):\n    return image"
    source = "import helpers\n" + STEP.replace("image * ", "helpers.sharpen(image) * ")
    source += "\nif __name__ == '__main__':\n    from cvcache.keys.functions.closure import canonical_code\n"
    source += "    print(canonical_code(step))\n"
    imported = canonical_code(load(pipeline=source, helpers=helpers).step)
    for python in pythons():
        run = subprocess.run(
            [python, "-S", "pipeline.py"],
            cwd=tmp_path,
            env={"PYTHONPATH": path_of_cvcache(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ast.literal_eval(run.stdout) == imported


EVERYTHING = '''
import dataclasses, enum, functools
from pathlib import Path

class Mode(enum.Enum):
    FAST = 1

@dataclasses.dataclass(frozen=True)
class Params:
    """Doc."""
    sigma: float = 1.0
    names: tuple[str, ...] = dataclasses.field(default_factory=tuple)

    @property
    def size(self) -> int:
        return int(self.sigma)

    def grown(self):
        return dataclasses.replace(self, sigma=self.sigma + 1)

class Grown(Params):
    def grown(self):
        return super().grown().grown()

DEFAULT = Params(3.0, ("a",))
SHARP = [lambda x, k=k: x + k for k in range(2)]
SCALE = functools.partial(max, 3)

@functools.lru_cache
def cached(n):
    return n and cached(n - 1)

async def later(x):
    async with x as y:
        return [z async for z in y]

def step(out, *args, a=1, mode=Mode.FAST, **kwargs):
    global DONE
    DONE = True
    match a:
        case {"x": [1, *rest], **more} if rest:
            return rest, more
        case None | True:
            pass
        case Params(sigma=s):
            a = s
    text = f"{a!r:>{len(args)}} {{}} {a=} {a:}" "tail"
    with open(__file__) as f, Path("x").open() as g:
        lines = [line for line in f if (n := len(line)) > 1]
    try:
        total = {**kwargs, "a": sum(i for i in range(3))}
    except* ValueError as error:
        raise RuntimeError from error
    else:
        del total["a"]
    def inner(x: int, /, y: "str" = b"z", *, z=...) -> None:
        """Doc."""
        nonlocal text
        text += u"x" + SHARP[0](1) + cached(2) + SCALE(1) + DEFAULT.sigma
        yield (yield from later), Grown, {i: i for i in {1, 2}}
    return inner if not text else lambda q: (q @ 1j, 1_000, text[1:2, ...])
'''


def test_every_python_reads_the_same_code_from_the_same_source(load: Callable[..., Any], tmp_path: Path) -> None:
    here = canonical_code(load(everything=EVERYTHING).step)
    assert "source" not in here
    assert {"Mode", "Params", "Grown", "cached", "later", "<lambda>", "<lambda>#2"} <= here["uses"].keys()
    script = "import everything\nfrom cvcache.keys.functions.closure import canonical_code\n"
    script += "print(canonical_code(everything.step))"
    for python in pythons():
        run = subprocess.run(
            [python, "-S", "-c", script],
            cwd=tmp_path,
            env={"PYTHONPATH": path_of_cvcache(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ast.literal_eval(run.stdout) == here, python


PROGRAM = """
# {comment}
class Filter:
    def run(self, x):
        return x {sign} 1

lines = lambda x: Filter().run(x)
"""
SHOWN = "from cvcache.keys.functions.closure import canonical_code\n"
SHOWN += "print([canonical_code(part) for part in (lines, Filter, Filter.run)])"


@pytest.mark.parametrize("python", pythons())
def test_a_program_on_the_command_line_has_a_source(load: Callable[..., Any], tmp_path: Path, python: str) -> None:
    def on_command_line(program: str) -> Any:
        environment = {"PYTHONPATH": path_of_cvcache(tmp_path)}
        command = [python, "-S", "-c", program + SHOWN]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    module = load(program=PROGRAM.format(comment="", sign="+"))
    here = [canonical_code(part) for part in (module.lines, module.Filter, module.Filter.run)]
    assert "bytecode" not in str(here)
    assert ast.literal_eval(on_command_line(PROGRAM.format(comment="a comment", sign="+"))) == here
    assert ast.literal_eval(on_command_line(PROGRAM.format(comment="", sign="-"))) != here


HELPERS = {
    "pkg__filters": "from pkg import base\ndef smooth(x):\n    return base.double(x)",
    "pkg__base": "def double(x):\n    return 2 * x",
}


@pytest.mark.parametrize(
    "imports",
    [
        "from pkg.filters import smooth",
        "from .filters import smooth",
        "from pkg import filters\ndef smooth(x): return filters.smooth(x)",
        "import pkg.filters\ndef smooth(x): return pkg.filters.smooth(x)",
        "def smooth(x):\n    from .filters import smooth\n    return smooth(x)",
        "def smooth(x):\n    from . import filters as f\n    return f.smooth(x)",
        "def smooth(x):\n    import pkg.filters as f\n    return f.smooth(x)",
        "def smooth(x):\n    import pkg.filters\n    return pkg.filters.smooth(x)",
        "import functools\nfrom pkg import filters\nsmooth = functools.partial(filters.smooth)",
        "import functools\nfrom pkg import filters\nsmooth = functools.lru_cache(filters.smooth)",
        "from pkg import filters\nTABLE = {'a': [filters.smooth]}\ndef smooth(x): return TABLE['a'][0](x)",
        "from pkg import filters\nclass S:\n    run = staticmethod(filters.smooth)\ndef smooth(x): return S.run(x)",
        "from pkg import filters\nsmooth = lambda x, f=filters.smooth: f(x)",
        "from pkg import filters\ndef make(f):\n    return lambda x: f(x)\nsmooth = make(filters.smooth)",
        "from pkg import filters as f\ndef smooth(x): return getattr(f, 'smooth')(x)",
    ],
)
def test_a_helper_is_found_however_it_is_reached(load: Callable[..., Any], imports: str) -> None:
    source = imports + "\ndef step(out, x):\n    return smooth(x)"
    before = canonical_key({"code": load(pkg__steps=source, **HELPERS).step})
    assert before == canonical_key({"code": load(pkg__steps=source, **HELPERS).step})
    name, old, new = ("pkg__filters", "base.double(x)", "base.double(x) + 1")
    after = canonical_key({"code": load(pkg__steps=source, **HELPERS | {name: HELPERS[name].replace(old, new)}).step})
    assert any("in pkg.filters" in line for line in key_differences(before, after))
    if "getattr" not in imports:  # a module used as a whole counts with its own text, and no further
        deep = HELPERS | {"pkg__base": "def double(x):\n    return 3 * x"}
        after = canonical_key({"code": load(pkg__steps=source, **deep).step})
        assert key_differences(before, after) == ["code: changed (helper double in pkg.base)"]


def test_a_swap_of_two_helpers_that_are_both_used_changes_the_code(load: Callable[..., Any]) -> None:
    filters = {"pkg__a": "def f(x): return x", "pkg__b": "def f(x): return -x"}
    source = "from pkg.{} import f as g\nfrom pkg.{} import f as h\ndef step(out): return g(1), h(2)"
    first = canonical_code(load(pkg__steps=source.format("a", "b"), **filters).step)
    assert first != canonical_code(load(pkg__steps=source.format("b", "a"), **filters).step)
    assert "pkg.a:f" in first["uses"]


def test_what_is_installed_counts_by_name(load: Callable[..., Any]) -> None:
    source = "from {} import {} as norm\ndef step(out, x): return norm(x)"
    norms = [("numpy.linalg", "norm"), ("numpy", "mean"), ("numpy", "add"), ("math", "sqrt"), ("json", "dumps")]
    codes = [canonical_code(load(pipeline=source.format(*names)).step) for names in norms]
    assert all(code["uses"] == {} for code in codes)
    assert len({code["ast"] for code in codes}) == len(norms)
    assert canonical_key(np.linalg.norm) == {"$name": "numpy.linalg:norm"}
    assert canonical_key(math.sqrt) == {"$name": "math:sqrt"}


def make(sigma: object, size: int = 1) -> Callable[[int], object]:
    def smooth(x: int) -> object:
        return x, sigma

    return smooth if size else (lambda x: (x, sigma))


def test_the_values_a_function_encloses_count() -> None:
    assert canonical_code(make(1)) == canonical_code(make(1)) != canonical_code(make(2))
    assert canonical_code(make(1, 0)) == canonical_code(make(1, 0)) != canonical_code(make(2, 0))
    assert canonical_code(make(1)) != canonical_code(make(1, 0))
    assert key_differences(canonical_key({"f": make(1)}), canonical_key({"f": make(2)})) == [
        "f: changed (constant make.<locals>.smooth.sigma: 1 -> 2)"
    ]
    adders = [lambda x, i=i: x + i for i in range(2)]
    assert canonical_code(adders[0]) != canonical_code(adders[1])


def test_lambdas_on_one_line_are_told_apart() -> None:
    plus, minus, again = lambda x: x + 1, lambda x: x - 1, lambda y: lambda x: x + 1  # noqa: ARG005
    codes = [canonical_code(part) for part in (plus, minus, again, again(0))]
    assert all("source" not in code for code in codes)
    assert codes[0]["ast"] == codes[3]["ast"]
    assert len({str(code["ast"]) for code in codes}) == 3


def test_an_argument_of_a_partial_and_the_object_of_a_method_count() -> None:
    assert (
        canonical_code(functools.partial(make, 1))
        == canonical_code(functools.partial(make, 1))
        != canonical_code(functools.partial(make, 2))
    )
    assert canonical_code(functools.partial(make, 1))["name"] == "make"
    assert canonical_code("a".join) != canonical_code("b".join)


def test_a_decorator_of_the_project_counts_and_so_does_what_it_wraps(load: Callable[..., Any]) -> None:
    source = """
    import functools
    TIMES = 2
    def repeated(f):
        @functools.wraps(f)
        def wrapper(*args):
            return [f(*args) for _ in range(TIMES)]
        return wrapper
    @repeated
    def smooth(x):
        return x
    def step(out):
        return smooth(1)
    """
    before = canonical_key({"code": load(pipeline=source).step})
    lines = {
        "TIMES = 2": ("TIMES = 3", "constant TIMES: 2 -> 3"),
        "return x": ("return -x", "helper smooth"),
        "[f(*args)": ("[2 * f(*args)", "helper repeated.<locals>.wrapper"),
    }
    for old, (new, line) in lines.items():
        assert f"code: changed ({line})" in key_differences(
            before, canonical_key({"code": load(pipeline=source.replace(old, new)).step})
        )
    assert canonical_code(load(pipeline=source).smooth)["name"] == "smooth"


def test_a_wrapper_that_is_an_object_counts_with_its_attributes(load: Callable[..., Any]) -> None:
    source = """
    import functools
    class repeated:
        def __init__(self, f):
            functools.update_wrapper(self, f)
            self.times = 2
        def __call__(self, x):
            return [self.__wrapped__(x)] * self.times
    @repeated
    def smooth(x):
        'Doc.'
        return x
    def step(out):
        return smooth(1)
    """
    before = canonical_code(load(pipeline=source).step)
    assert before == canonical_code(load(other=source.replace("Doc", "Text")).step)
    changes = {"times = 2": "times = 3", "return x": "return -x", "return [": "return 2 * ["}
    codes = [canonical_code(load(pipeline=source.replace(old, new)).step) for old, new in changes.items()]
    assert all(code != before for code in codes)


def test_an_attribute_of_a_function_counts_unless_it_is_written_to(load: Callable[..., Any]) -> None:
    module = load(pipeline="def f(): f.calls += 1\nf.calls = 0\nf.level = 1\ndef step(out): return f(), f.level")
    before = canonical_code(module.step)
    module.f()
    assert canonical_code(module.step) == before
    module.f.level = 2
    assert canonical_code(module.step) != before


def test_a_wrapper_made_by_an_installed_package_counts_with_what_it_wraps(load: Callable[..., Any]) -> None:
    source = """
    import contextlib
    @contextlib.contextmanager
    def quiet():
        yield {}
    def step(out):
        with quiet() as q:
            return q
    """
    assert canonical_code(load(pipeline=source.format(1)).step) == canonical_code(load(pipeline=source.format(1)).step)
    assert canonical_code(load(pipeline=source.format(1)).step) != canonical_code(load(pipeline=source.format(2)).step)


def test_a_class_counts_with_its_bases_methods_and_what_it_holds_now(load: Callable[..., Any]) -> None:
    source = """
    import dataclasses
    class Base:
        sigma = 1
        def run(self):
            return self.sigma
    class Filter(Base):
        def run(self):
            return super().run()
    def step(out):
        return Filter().run()
    """
    module = load(pipeline=source)
    before = canonical_code(module.step)
    assert {"Base", "Filter"} == before["uses"].keys()
    module.Base.sigma = 2
    assert canonical_code(module.step) != before
    assert canonical_code(load(pipeline=source.replace("return self.sigma", "return -self.sigma")).step) != before
    assert canonical_code(load(pipeline=source).step) == before


def test_the_methods_and_fields_of_a_dataclass_count_where_one_is_an_argument(load: Callable[..., Any]) -> None:
    source = """
    import dataclasses
    @dataclasses.dataclass(frozen=True)
    class Params:
        '''Doc.'''
        sigma: float = 1.0
        def size(self):
            return 2 * self.sigma
    """
    forms = [
        canonical_key(load(pipeline=text).Params(3.0))
        for text in (
            source,
            source.replace("Doc", "Text"),
            source.replace("2 *", "3 *"),
            source.replace("= 1.0", "= 2.0"),
        )
    ]
    assert forms[0] == forms[1]
    assert forms[2] != forms[0] != forms[3]


def test_recursion_and_cycles_end(load: Callable[..., Any]) -> None:
    source = """
    def even(n): return n == 0 or odd(n - 1)
    def odd(n): return n != 0 and even(n - 1)
    TABLE = {"step": None}
    def step(out): return even(out), TABLE["step"]
    TABLE["step"] = step
    """
    code = canonical_code(load(pipeline=source).step)
    assert code["uses"].keys() == {"even", "odd", "TABLE"}
    source = "\n".join(f"def f{i}(): return f{i + 1}()" for i in range(2000)) + "\ndef f2000(): return 1"
    code = canonical_code(load(pipeline=source).f0)
    assert code["uses"].keys() == {":*"}
    assert code != canonical_code(load(pipeline=source.replace("return 1", "return 2")).f0)


def test_what_the_code_writes_to_is_state_and_does_not_count(load: Callable[..., Any]) -> None:
    source = """
    import types
    calls, seen, n, cache, box = [], set(), 0, {}, types.SimpleNamespace(n=0)
    class Runs:
        n = 0
    def step(out):
        global n
        n += 1
        calls.append(1)
        seen.add(n)
        cache[n] = len(calls)
        box.n += 1
        Runs.n += 1
    """
    module = load(pipeline=source)
    before = canonical_code(module.step)
    module.step(None)
    assert canonical_code(module.step) == before
    assert (module.n, module.Runs.n) == (1, 1)
    constant = load(pipeline="calls = [1]\ndef step(out): return len(calls)")
    before = canonical_code(constant.step)
    constant.calls.append(2)
    assert canonical_code(constant.step) != before


def test_a_default_that_keeps_what_was_computed_is_state(load: Callable[..., Any]) -> None:
    module = load(pipeline="def f(x, seen={}):\n    seen[x] = x\ndef step(out, k={}, *, size=3): return f(1), k")
    before = canonical_code(module.step)
    module.f(1)
    assert canonical_code(module.step) == before
    module.step.__kwdefaults__["size"] = 4
    assert canonical_code(module.step) != before


def test_a_class_made_by_a_call_counts_by_what_it_holds(load: Callable[..., Any]) -> None:
    source = """
    import collections, dataclasses, enum
    Pair = collections.namedtuple("Pair", "x y")
    Mode = enum.Enum("Mode", "FAST GOOD", module=__name__)
    Params = dataclasses.make_dataclass("Params", [("a", int, 1)], namespace={"__module__": __name__})
    def step(out, x):
        return Pair(1, 2), Mode(x), Params()
    """
    before = canonical_key({"code": load(pipeline=source).step})
    assert before == canonical_key({"code": load(pipeline=source).step})
    for old, new in {"x y": "y x", "FAST GOOD": "GOOD FAST", "int, 1": "int, 2"}.items():
        after = canonical_key({"code": load(pipeline=source.replace(old, new)).step})
        assert [line[:22] for line in key_differences(before, after)] == ["code: changed (helper "]


def test_the_code_of_an_installed_pipeline_counts_too(load: Callable[..., Any], tmp_path: Path) -> None:
    source = "import cvcache\ndef smooth(x): return {}\n@cvcache.step\ndef step(out): return smooth(out)\n"
    site = tmp_path / "site-packages"
    site.mkdir()
    load(where=f"import sys\nsys.path.insert(0, {str(site)!r})")
    forms = []
    for n, text in enumerate(("x", "x  # note", "-x")):
        (site / f"lab{n}.py").write_text(source.format(text))
        forms.append(canonical_key({"code": importlib.import_module(f"lab{n}").step.__wrapped__}))
        assert canonical_key(importlib.import_module(f"lab{n}").smooth) == {"$name": f"lab{n}:smooth"}
    assert forms[0] == forms[1]
    assert key_differences(forms[1], forms[2]) == ["code: changed (helper smooth)"]


def test_state_of_an_enclosing_function_does_not_count() -> None:
    calls: list[int] = []
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        calls.append(count)
        assert count == len(calls)

    before = canonical_code(step)
    step()
    assert canonical_code(step) == before
    assert "source" not in before


def test_a_constant_without_a_form_is_refused_with_its_name_and_the_cure(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvcache.keys.canonical._hooks", {})
    source = "class Model:\n    def __init__(self): self.w = 1\nMODEL = Model()\ndef step(out): return MODEL.w"
    module = load(pipeline=source)
    with pytest.raises(UnkeyableValue, match=r"step: MODEL .*Model.* version=.*register_key\(pipeline.Model"):
        canonical_code(module.step)
    register_key(module.Model, lambda model: model.w)
    before = canonical_code(module.step)
    module.MODEL.w = 2
    assert canonical_code(module.step) != before


def test_modules_loggers_locks_types_and_sentinels_are_fine(load: Callable[..., Any]) -> None:
    source = """
    import logging, threading, typing, contextvars, re, math, os.path
    from typing import TypeVar, cast
    import numpy as np
    log = logging.getLogger(__name__)
    lock, T, MISSING = threading.Lock(), TypeVar("T"), object()
    class _Unset: pass
    UNSET = _Unset()
    Array = np.ndarray | list[int] | None
    current = contextvars.ContextVar("current")
    word = re.compile("a+")
    def step(out, x=MISSING, y=UNSET):
        log.info("%s", __name__)
        with lock:
            return cast(Array, x), cast(T, x), current, word, np.float32, math, os.path.join, __file__, UNSET
    """
    before = canonical_code(load(pipeline=source).step)
    assert before == canonical_code(load(other=source).step)
    assert before != canonical_code(load(other=source.replace("a+", "b+")).step)


def test_a_name_of_the_function_is_not_taken_for_a_global_one(load: Callable[..., Any]) -> None:
    source = "image = open\nlock = iter([])\ndef step(out, image: lock):\n    return [lock for lock in image]"
    assert canonical_code(load(pipeline=source).step)["uses"] == {}


def test_without_source_the_bytecode_counts_and_the_record_says_so() -> None:
    def made(source: str) -> Any:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(textwrap.dedent(source), scope)  # noqa: S102 - a function without a source
        return scope["step"]

    source = """
    SIGMA, calls = 3, []
    def helper(x): return x + SIGMA
    def step(out):
        '''Doc.'''
        calls.append(1)
        return helper(out) + 1
    """
    before = canonical_code(made(source))
    assert before["source"] == "bytecode"
    assert before == canonical_code(
        made("\n\n" + source.replace("Doc", "Text").replace("calls = 3, []", "calls = 3, [1]"))
    )
    assert before != canonical_code(made(source.replace("+ 1", "+ 2")))
    assert key_differences({"code": before}, {"code": canonical_code(made(source.replace("x + S", "x - S")))}) == [
        "code: changed (helper helper)"
    ]
    assert key_differences({"code": before}, {"code": canonical_code(made(source.replace("= 3", "= 4")))}) == [
        "code: changed (constant SIGMA: 3 -> 4)"
    ]


def test_a_notebook_cell_is_followed_like_a_module() -> None:
    def run(n: int, source: str, scope: dict[str, Any]) -> None:
        name = f"<ipython-input-{n}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec"), scope)  # noqa: S102 - as a notebook does

    def notebook(helper: str, first: int) -> dict[str, Any]:
        scope: dict[str, Any] = {"__name__": "__main__"}
        run(first, f"SIGMA = 3\ndef helper(x):\n    return {helper}\n", scope)
        run(first + 1, "# cell\ndef step(out):\n    return helper(out)\n", scope)
        return canonical_code(scope["step"])

    before = notebook("x + SIGMA", 1)
    assert "source" not in before
    assert before == notebook("x  +  SIGMA # note", 3)
    assert key_differences({"code": before}, {"code": notebook("x - SIGMA", 5)}) == ["code: changed (helper helper)"]


def test_an_edit_without_a_reload_does_not_count_until_it_runs(load: Callable[..., Any], tmp_path: Path) -> None:
    module = load(pipeline=STEP)
    before = canonical_code(module.step)
    module = load(pipeline=STEP)
    (tmp_path / "pipeline.py").write_text(STEP.replace("> level", "< level"))
    linecache.checkcache()
    assert canonical_code(module.step)["source"] == "bytecode"
    module = load(pipeline=STEP)
    assert canonical_code(module.step) == before
    (tmp_path / "pipeline.py").write_text(STEP.replace("> level", "< level"))
    linecache.checkcache()
    assert canonical_code(module.step) == before
    module = load(pipeline=STEP)
    (tmp_path / "pipeline.py").write_text("# moved down\n" + STEP)
    linecache.checkcache()
    assert canonical_code(module.step) == before
    assert canonical_code(load(pipeline=STEP.replace("> level", "< level")).step) != before


def test_a_global_with_every_attribute_is_no_place(load: Callable[..., Any]) -> None:
    source = "import dask\nlater = dask.delayed(sum)([1, {}])\ndef step(out): return later.compute()\n"
    assert canonical_code(load(pipeline=source.format(2)).step) == canonical_code(load(pipeline=source.format(2)).step)
    assert canonical_code(load(pipeline=source.format(2)).step) != canonical_code(load(pipeline=source.format(3)).step)


def test_two_functions_that_import_two_things_by_one_name(load: Callable[..., Any]) -> None:
    main = """
    def f():
        from one import SIGMA
        return SIGMA
    def g():
        from two import SIGMA
        return SIGMA
    def step(out): return f() + g()
    """
    before = canonical_code(load(pipeline=main, one="SIGMA = 1", two="SIGMA = 10").step)
    assert canonical_code(load(pipeline=main, one="SIGMA = 5", two="SIGMA = 10").step) != before
    assert canonical_code(load(pipeline=main, one="SIGMA = 1", two="SIGMA = 50").step) != before


def test_what_is_registered_for_a_type_counts(load: Callable[..., Any]) -> None:
    source = """
    import functools
    @functools.singledispatch
    def convert(x): return 0
    @convert.register
    def _(x: int): return 1
    def step(out): return convert(3)
    """
    before = canonical_code(load(pipeline=source).step)
    assert canonical_code(load(pipeline=source).step) == before
    assert canonical_code(load(pipeline=source.replace("return 1", "return 2")).step) != before


@pytest.mark.parametrize(
    "source",
    [
        "import pandas\nOFF = pandas.Series([1, 2])\ndef step(out, s): return OFF.add(s)\n",
        """
        LEVEL = [1, 2]
        class C:
            def a(self):
                LEVEL = {}
                LEVEL[0] = 1
            def b(self): return LEVEL
        def step(out): return C().b()
        """,
    ],
)
def test_what_only_looks_like_a_write_counts_by_its_content(load: Callable[..., Any], source: str) -> None:
    before = canonical_code(load(pipeline=source).step)
    assert canonical_code(load(pipeline=source).step) == before
    assert canonical_code(load(pipeline=source.replace("[1, 2]", "[1, 20]")).step) != before


def test_a_private_value_that_is_set_on_a_class_counts(load: Callable[..., Any]) -> None:
    source = "class C:\n    def f(self): return self._k\nC._k = 4\ndef step(out): return C().f()\n"
    assert canonical_code(load(pipeline=source).step) != canonical_code(
        load(pipeline=source.replace("= 4", "= 9")).step
    )
