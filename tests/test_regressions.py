"""Ways to lose or mix results that were found by trying to."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import dask.array as da
import pytest

import cvcache
from cvcache import ItemDamaged, NodeReplaced, NotACacheDir, cdir, cdir_init

if TYPE_CHECKING:
    from servers.store_cases import LocalCase, StoreCase

    from cvcache import CacheDir


def compute_image(node: CacheDir, value: int, **how: object) -> CacheDir:
    with node.init({"value": value}, **how) as out:  # type: ignore[arg-type]  # on_stale, force, wait
        if not out.committed:
            out.write("x.ome.zarr", da.full((8, 64, 64), value, chunks=(4, 32, 32), dtype="u2"), axes="zyx")
    return out


def test_a_lazy_image_that_was_replaced_is_an_error_not_the_other_result(store_case: StoreCase) -> None:
    node = cdir(store_case.url, **store_case.options)
    lazy = compute_image(node, 1).read("x.ome.zarr")
    assert int(lazy.max().compute()) == 1
    compute_image(node, 2)
    if store_case.kind in {"s3", "gcs"}:
        from cvcache.formats import item_path

        item_path._looked.clear()
    with pytest.raises((NodeReplaced, ItemDamaged)):
        lazy.compute()
    assert int(cdir(store_case.url, **store_case.options).read("x.ome.zarr").max().compute()) == 2


def test_a_linked_log_does_not_lead_to_another_node(local_case: LocalCase) -> None:
    victim, evil = local_case.path / "victim", local_case.path / "evil"
    with cdir_init(victim) as node:
        node.write("a.json", 1)
    evil.mkdir()
    (evil / "_cvcache").symlink_to(victim / "_cvcache")
    with pytest.raises(NotACacheDir):
        cvcache.cdir_remove(evil)
    with pytest.raises(NotACacheDir):
        cdir_init(evil, {"k": 2})
    assert cdir(victim).read("a.json") == 1


def test_a_linked_item_is_not_read(local_case: LocalCase) -> None:
    with cdir_init(local_case.url) as node:
        node.write("a.txt", "mine")
    item = local_case.path / "a.txt"
    item.unlink()
    item.symlink_to("/etc/hostname")
    with pytest.raises(ItemDamaged):
        cdir(local_case.url).read("a.txt")


@pytest.mark.parametrize("value", ["x.", "a ", "a\nb", "..", "UPPER", "b.zarr"])
def test_a_sweep_over_odd_texts(local_case: LocalCase, value: str) -> None:
    node = cdir(local_case.url) / "sw"
    for text in ("first", value):
        with node.init({"text": text}, on_stale="new") as out:
            out.write("text.json", text)
    assert {child.read("text.json") for child in cdir(local_case.url).children()} == {"first", value}


def test_a_log_with_half_a_character_costs_nothing(local_case: LocalCase) -> None:
    # in a process of its own: what pytest keeps of a log has to be text
    script = (
        "import logging, os, sys, cvcache\n"
        "with cvcache.cdir_init(sys.argv[1]) as out, out.log():\n"
        "    logging.getLogger('lab').warning('file %s', os.fsdecode(b'\\xff'))\n"
        "    out.write('a.json', 1)\n"
    )
    subprocess.run([sys.executable, "-c", script, local_case.url], check=True)
    assert r"\udcff" in cdir(local_case.url).read("run.log")


def test_a_log_the_step_wrote_itself_stays(local_case: LocalCase) -> None:
    @cvcache.step
    def own(out: CacheDir) -> None:
        out.write("run.log", "mine")

    assert own(cdir(local_case.url)).read("run.log") == "mine"


def test_a_report_made_from_the_nodes_below_it_goes_stale(local_case: LocalCase) -> None:
    report, part = cdir(local_case.url), cdir(local_case.url) / "part"
    for value in (1, 2):
        with part.init({"v": value}) as out:
            out.write("x.json", value)
        if value == 1:
            with report.init({"of": out["x.json"]}) as made:
                made.write("sum.json", value)
    assert cdir(local_case.url).state == "stale"


def test_a_part_made_from_the_node_above_it_goes_stale(local_case: LocalCase) -> None:
    whole, part = cdir(local_case.url), cdir(local_case.url) / "part"
    for value in (1, 2):
        with whole.init({"v": value}) as out:
            out.write("x.json", value)
        if value == 1:
            with part.init({"of": out["x.json"]}) as made:
                made.write("half.json", value)
    assert (cdir(local_case.url) / "part").state == "stale"
