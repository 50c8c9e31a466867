"""The address line: its history holds URLs and nothing else, its options are in memory and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QSettings, Qt
from qtpy.QtWidgets import QApplication, QComboBox, QLabel, QLineEdit, QWidget

import cvcache
from cvcache.napari.dock import MAX_HISTORY, AddressBar, CacheTree, History, OptionsDialog, RememberedOptions, bucket_of

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot
    from servers.store_cases import BucketCase, StoreCase

CANARY = "canary-7f3c9d51e2"


@pytest.fixture
def bar(qtbot: QtBot) -> AddressBar:
    made = AddressBar()
    qtbot.addWidget(made)
    return made


def test_the_history_is_newest_first_short_and_without_doubles(bar: AddressBar) -> None:
    for number in range(MAX_HISTORY + 5):
        bar.show_opened(f"s3://bucket/run{number}", {})
    bar.show_opened("s3://bucket/run9", {})
    urls = History().urls()
    assert urls[:2] == ["s3://bucket/run9", f"s3://bucket/run{MAX_HISTORY + 4}"]
    assert len(urls) == len(set(urls)) == MAX_HISTORY == bar.box.count()
    assert bar.text() == "s3://bucket/run9"


@pytest.mark.parametrize("spoilt", ["", "{", "3", '{"a": 1}', "[" * 10_000, '[1, null, "s3://b/x"]', b"\xff"])
def test_a_spoilt_history_is_no_harm(bar: AddressBar, spoilt: Any) -> None:
    QSettings("cvcache", "cvcache").setValue("browser/history", spoilt)
    assert History().urls() in ([], ["s3://b/x"])
    bar.show_opened("s3://b/y", {})
    assert History().urls()[0] == "s3://b/y"


def test_quotes_and_spaces_are_no_part_of_an_address(bar: AddressBar) -> None:
    for text in ("  s3://b/x ", "'s3://b/x'", ' "s3://b/x" '):
        bar.box.setEditText(text)
        assert bar.text() == "s3://b/x"


def test_enter_opens_once_also_what_is_in_the_history(bar: AddressBar, qtbot: QtBot) -> None:
    bar.show_opened("s3://bucket/run1", {"anon": True})
    entered: list[tuple[str, object]] = []
    bar.entered.connect(lambda url, options: entered.append((url, options)))
    bar.box.setEditText("s3://bucket/run1")
    qtbot.keyClick(bar.box.lineEdit(), Qt.Key.Key_Return)
    qtbot.wait(20)
    assert entered == [("s3://bucket/run1", {"anon": True})]


def test_a_folder_is_chosen_and_opened(bar: AddressBar, qtbot: QtBot, tmp_path: Path) -> None:
    bar.ask_folder = lambda: str(tmp_path)
    with qtbot.waitSignal(bar.entered) as entered:
        bar.folder.click()
    assert entered.args == [str(tmp_path), {}]
    bar.ask_folder = lambda: ""
    with qtbot.assertNotEmitted(bar.entered, wait=20):
        bar.folder.click()


def test_options_are_those_of_one_bucket() -> None:
    kept = RememberedOptions()
    kept.set("s3://one/a", {"key": CANARY})
    kept.set("s3://two/a", {"anon": True})
    kept.set("/local/path", {"key": "x"})
    assert kept.get("s3://one/b/c") == {"key": CANARY}
    assert kept.get("s3a://two/z") == {"anon": True}
    assert kept.get("gs://one/a") == kept.get("/local/path") == kept.get("no url ::") == {}
    kept.set("s3://one/x", {})
    assert kept.get("s3://one/a") == {}
    assert CANARY not in repr(kept)
    assert bucket_of("s3://b/x/y") == ("s3", "b")


def test_the_dialog_reads_json_hides_values_and_never_shows_what_it_holds(qtbot: QtBot) -> None:
    dialog = OptionsDialog("s3://b/x", {"secret": CANARY, "drop": 1})
    qtbot.addWidget(dialog)
    lines = dialog._lines
    assert [named.text() for named, _ in lines[:2]] == ["secret", "drop"]
    assert all(value.text() == "" for _, value in lines)
    assert all(value.echoMode() == QLineEdit.EchoMode.PasswordEchoOnEdit for _, value in lines)
    lines[1][0].setText("")
    for (named, value), (name, text) in zip(
        lines[2:], [("anon", "true"), ("client_kwargs", '{"region_name": "x"}')], strict=False
    ):
        named.setText(f" {name} ")
        value.setText(text)
    named, value = dialog.add_line()
    named.setText("key")
    value.setText("12 is no number")
    assert dialog.options() == {
        "secret": CANARY,
        "anon": True,
        "client_kwargs": {"region_name": "x"},
        "key": "12 is no number",
    }
    assert CANARY not in "".join(texts_of(dialog))


@pytest.mark.server
def test_options_open_a_bucket_and_leave_no_trace(qtbot: QtBot, s3_case: BucketCase) -> None:
    with cvcache.cdir_init(cvcache.cdir(s3_case.url, **s3_case.options) / "node") as node:
        node.write("x.json", 1)
    dock = CacheTree()
    qtbot.addWidget(dock)
    dock.show()
    options = {**s3_case.options, "secret": CANARY}
    dock.address.box.setEditText(s3_case.url)
    dock.address.ask_options = lambda *_: options
    with qtbot.waitSignal(dock.opened, timeout=30_000):
        dock.address.options.click()
    bad = {**s3_case.options, "secret": CANARY, "client_kwargs": {"no_such_thing": CANARY}}
    with qtbot.waitSignal(dock.failed, timeout=60_000) as failed:
        dock.open("s3://another-bucket/x", bad)
    assert CANARY not in failed.args[0]
    assert CANARY not in "".join(texts_of(dock))
    assert History().urls() == [s3_case.url]
    dock.address.show_url(s3_case.url)
    with qtbot.waitSignal(dock.opened, timeout=30_000):
        dock.address.enter()
    dock.close()
    QSettings("cvcache", "cvcache").sync()
    written = [path for path in Path(os.environ["XDG_CONFIG_HOME"]).rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if CANARY.encode() in path.read_bytes()]


def test_an_empty_or_local_line_remembers_no_options(bar: AddressBar, qtbot: QtBot, memory_case: StoreCase) -> None:
    asked: list[str] = []
    bar.ask_options = lambda url, _: asked.append(url)  # type: ignore[func-returns-value]  # nothing: cancelled
    bar.choose_options()
    assert asked == [""]
    bar.box.setEditText(memory_case.url)
    with qtbot.assertNotEmitted(bar.entered, wait=20):
        bar.choose_options()


def texts_of(widget: QWidget) -> list[str]:
    """Return all that widgets say anywhere."""
    found = []
    for one in [widget, *widget.findChildren(QWidget), *QApplication.topLevelWidgets()]:
        found += [one.toolTip(), one.accessibleName(), one.windowTitle(), one.statusTip()]
        if isinstance(one, (QLabel, QLineEdit)):
            found.append(one.text())
        if isinstance(one, QComboBox):
            found += [one.itemText(n) for n in range(one.count())]
    return found
