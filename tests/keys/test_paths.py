"""A path or URL in a key stands for what lies there: by size and time, or etag; and never shows a secret."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import pathlib
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import cvcache
from cvcache import cdir, keys
from cvcache.errors import UnkeyableValue
from cvcache.image import identity
from cvcache.image.read import identify
from cvcache.keys import digest, dumps, key_differences
from cvcache.node import address_of
from cvcache.store import instrument
from cvcache.testing import CountingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.store_cases import StoreCase

    from cvcache.node import Address

CANARY = "canary7Rf3kQ9zW"


def canonical_key(value: object, *, paths: Any = "all", near: Address | None = None) -> Any:
    return keys.canonical_key(value, paths=paths, resolve=functools.partial(identity, near=near))


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x.tif").write_bytes(b"123")
    (tmp_path / "data/a.zarr/0").mkdir(parents=True)
    (tmp_path / "data/a.zarr/zarr.json").write_text("{}")
    return tmp_path


def touch(path: pathlib.Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


SPELLINGS: list[Callable[[str], object]] = [
    str,
    pathlib.Path,
    lambda name: f"file://{pathlib.Path(name).absolute()}",
    lambda name: pathlib.Path(name).absolute(),
    lambda name: {"deep": [pathlib.Path(name)]},
]


@pytest.mark.parametrize("spell", SPELLINGS)
def test_a_file_counts_with_size_and_time(here: pathlib.Path, spell: Callable[[str], object]) -> None:
    file = here / "data/x.tif"
    touch(file, 1_000_000_000)
    forms = [canonical_key(spell("data/x.tif"))]
    assert canonical_key(spell("data/x.tif")) == forms[0]
    touch(file, 1_000_000_001)
    forms.append(canonical_key(spell("data/x.tif")))
    file.write_bytes(b"1234")
    touch(file, 1_000_000_001)
    forms.append(canonical_key(spell("data/x.tif")))
    file.unlink()
    forms.append(canonical_key(spell("data/x.tif")))
    assert len({dumps(form) for form in forms}) == 4


def test_a_change_of_a_file_is_told(here: pathlib.Path) -> None:
    def form() -> Any:
        return canonical_key({"args": {"image": "data/x.tif", "path": pathlib.Path("data/x.tif")}})

    touch(here / "data/x.tif", 1_000_000_000)
    first = form()
    touch(here / "data/x.tif", 1_000_000_001)
    change = "data/x.tif: modified 2001-09-09T01:46:40.000000000Z -> 2001-09-09T01:46:41.000000000Z"
    assert key_differences(first, form()) == [f"args.image: {change}", f"args.path: {change}"]
    (here / "data/x.tif").unlink()
    gone = "data/x.tif: modified 2001-09-09T01:46:40.000000000Z -> absent"
    assert key_differences(first, form()) == [f"args.image: {gone}", f"args.path: {gone}"]
    assert form()["args"] == {"image": "data/x.tif", "path": {"$path": "data/x.tif", "absent": True}}


@pytest.mark.parametrize("root", ["zarr.json", ".zattrs", ".zgroup", ".zarray"])
@pytest.mark.parametrize("spell", [*SPELLINGS[:3], lambda name: f"{name}?slices=[0,:5]"])
def test_an_image_counts_with_its_metadata(here: pathlib.Path, root: str, spell: Callable[[str], object]) -> None:
    metadata = here / "data/a.zarr" / root
    (here / "data/a.zarr/zarr.json").rename(metadata)
    touch(metadata, 1_000_000_000)
    before = canonical_key(spell("data/a.zarr"))
    (here / "data/a.zarr/0/c").write_bytes(b"1")
    assert canonical_key(spell("data/a.zarr")) == before
    touch(metadata, 1_000_000_001)
    assert canonical_key(spell("data/a.zarr")) != before


def test_another_part_of_an_image_is_another_value(here: pathlib.Path) -> None:
    forms = [canonical_key(f"{here}/data/a.zarr{query}") for query in ("", "?slices=[0]", "?slices=[1]")]
    assert len({dumps(form) for form in forms}) == 3


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "text", ["data", "a text", "x.tif", "nothing/here.tif", "4.5", "a\n/b.c", ".", "/", "x" * 5000]
)
def test_a_text_that_names_no_file_or_image_is_a_text(text: str) -> None:
    assert canonical_key(text) == canonical_key(text, paths="text")


def test_a_directory_given_as_a_path_counts_with_what_is_in_it_by_name(here: pathlib.Path) -> None:
    touch(here / "data", 1_000_000_000)
    before = canonical_key(here / "data")
    (here / "data/y.tif").write_bytes(b"1")
    assert canonical_key(here / "data") != before
    assert canonical_key(here) != canonical_key(str(here))


@pytest.mark.usefixtures("here")
def test_a_path_a_text_and_a_dict_that_looks_like_one_differ() -> None:
    values = ["data/x.tif", pathlib.Path("data/x.tif"), pathlib.PurePosixPath("data/x.tif")]
    values += ["nothing.tif", pathlib.Path("nothing.tif"), pathlib.PurePosixPath("nothing.tif")]
    forms = [canonical_key(value) for value in values]
    forms += [canonical_key(form) for form in forms if isinstance(form, dict)]
    assert len({digest(form) for form in forms}) == len(forms)


def test_any_object_with_a_path_counts(here: pathlib.Path) -> None:
    (entry,) = (entry for entry in os.scandir(here / "data") if entry.name == "x.tif")
    before = canonical_key(entry)
    touch(here / "data/x.tif", 5)
    assert canonical_key(entry) != before


def test_a_path_in_the_code_of_a_function_is_a_text(here: pathlib.Path) -> None:
    def load() -> pathlib.Path:
        return pathlib.Path("data/x.tif")

    before = canonical_key(load)
    touch(here / "data/x.tif", 5)
    assert canonical_key(load) == before


def test_names_and_labels_are_no_paths(here: pathlib.Path) -> None:
    import numpy as np

    before = [canonical_key({"data/x.tif": 1, ("data/x.tif",): 2}), canonical_key(np.str_("data/x.tif"))]
    touch(here / "data/x.tif", 5)
    assert before == [canonical_key({"data/x.tif": 1, ("data/x.tif",): 2}), canonical_key(np.str_("data/x.tif"))]


def test_an_object_in_a_store_counts_by_two_requests() -> None:
    node = cdir("memory://keys/x")
    address_of(node).store.put("keys/x/a.tif", b"123")
    address_of(node).store.put("keys/x/b.zarr/zarr.json", b"{}")
    counters: list[CountingStore] = []

    def counted(store: Any) -> Any:
        counters.append(CountingStore(store))
        return counters[-1]

    with instrument(counted):
        first = [
            canonical_key(f"memory://keys/x/{name}") for name in ("a.tif", "b.zarr", "b.zarr?slices=[0]", "no.tif")
        ]
    assert [counter.total for counter in counters] == [2, 2, 2, 3]
    address_of(node).store.put("keys/x/a.tif", b"124")
    address_of(node).store.put("keys/x/b.zarr/zarr.json", b"[]")
    second = [canonical_key(f"memory://keys/x/{name}") for name in ("a.tif", "b.zarr", "b.zarr?slices=[0]", "no.tif")]
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, False, False, True]
    assert first[3] == {"$url": "memory://keys/x/no.tif", "absent": True}
    assert canonical_key("memory:///keys/x/a.tif") == {**second[0], "$url": "memory:///keys/x/a.tif"}


@pytest.mark.server
def test_an_object_in_a_bucket_counts_by_its_etag(s3_case: Any) -> None:
    s3_case.put("x.tif", b"123")
    near = address_of(cdir(s3_case.url, **s3_case.options))
    url = f"{s3_case.url}/x.tif"
    first = canonical_key({"image": url}, near=near)
    assert first["image"].keys() == {"$url", "etag"}
    upath = type("S3Path", (SimpleNamespace,), {"__fspath__": lambda self: self.url, "__str__": lambda self: self.url})
    path = upath(url=url, protocol="s3", storage_options=s3_case.options)
    assert canonical_key(path)["etag"] == first["image"]["etag"]
    assert str(s3_case.options.get("endpoint_url")) not in dumps(canonical_key(path))
    s3_case.put("x.tif", b"124")
    (line,) = key_differences(first, canonical_key({"image": url}, near=near))
    assert line.startswith(f"image: {url}: etag ")
    assert canonical_key(path)["etag"] != first["image"]["etag"]


@contextlib.contextmanager
def web_server(headers: dict[str, str]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_object_on_a_web_server_counts_by_its_etag() -> None:
    answers = [{"ETag": '"one"'}, {"ETag": 'W/"two"'}, {"Last-Modified": "Sat, 21 Nov 2026 12:00:00 GMT"}, {}]
    forms: list[Any] = []
    for headers in answers:
        with web_server(headers) as server:
            forms.append(canonical_key(f"{server}/x.tif?slices=[0]"))
    assert forms[0]["etag"] == "one"
    assert forms[1]["etag"] == "two"
    assert forms[2]["modified"].startswith("Sat")
    assert isinstance(forms[3], str)


def test_a_signed_url_is_asked_and_its_signature_left_out() -> None:
    with web_server({"ETag": '"one"'}) as server:
        form = canonical_key(f"{server}/x.tif?X-Amz-Signature={CANARY}")
    assert form == {"$url": f"{server}/x.tif", "etag": "one"}


@pytest.mark.parametrize(
    "url", ["doi://10.5281/zenodo.1", "nowhere+x://a/b", "s3://", "memory://a/../b", "http://127.0.0.1:1/x.tif"]
)
def test_a_url_that_cannot_be_asked_counts_by_its_text(url: str) -> None:
    assert canonical_key({"image": url}) == {"image": url}


def test_a_server_that_does_not_answer_is_not_asked_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    identify._unreachable_until.clear()
    forms = [canonical_key([f"http://127.0.0.1:1/{name}.tif"]) for name in "ab"]
    assert forms == [["http://127.0.0.1:1/a.tif"], ["http://127.0.0.1:1/b.tif"]]
    assert [record.getMessage().partition(":1/")[2] for record in caplog.records] == [
        "a.tif counts in a key by its text alone: nobody could be asked (URLError)"
    ]


@pytest.mark.parametrize(
    "url",
    [
        f"s3://key:{CANARY}@bucket/x.tif",
        f"http://user:{CANARY}@127.0.0.1:1/x.tif",
        f"http://127.0.0.1:1/x.tif?X-Amz-Signature={CANARY}",
        f"postgresql://user:{CANARY}@host/database",
    ],
)
def test_a_secret_in_a_url_that_cannot_be_asked_is_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(UnkeyableValue, match=r"args\.image: .* holds a secret.*by the environment.*ignore=") as caught:
        canonical_key({"args": {"image": url}})
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_directory_of_a_node_counts_by_its_newest_record(store_case: StoreCase) -> None:
    node = cdir(store_case.url, **store_case.options) / "raw"
    near = address_of(node)
    forms = [dumps(canonical_key(node.url, near=near))]
    for value in (1, 2):
        with cvcache.cdir_init(node, {"value": value}) as d:
            d.write("value.json", value)
        forms += [dumps(canonical_key(node.url, near=near)), dumps(canonical_key(node.url, near=near))]
    assert forms[1] == forms[2]
    assert forms[3] == forms[4]
    assert len(set(forms)) == 3
