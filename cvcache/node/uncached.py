"""The nodes of ``cdir(None)``: no cache, so that the same script runs and keeps nothing."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Mapping
from typing import Any

from cvcache import formats, protocol
from cvcache.node.item_write import write_item
from cvcache.store import Store, open_store


class Uncached:
    """What one node without a cache holds: an array as it is, everything else in a temporary directory.

    The directory goes with the last handle. An array is written there when its metadata, a level, its path or its URL
    is asked for, or when the handle is pickled.

    Parameters
    ----------
    path : str
        Of the directory.
    record : Record
        That a node in a store would have.
    rows : dict
        Rows of the items that are in the directory already.
    """

    def __init__(self, path: str, record: protocol.Record, rows: dict[str, dict[str, Any]]) -> None:
        self.path = path
        self.attempt = protocol.Attempt(self.store, path, record, protocol.Policy())
        for name, row in rows.items():
            self.attempt.item(name).row = row
        if record.state != "claimed":
            self.attempt.outcome = record
        self._arrays: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._written: set[str] = set()

    @classmethod
    def open(cls, name: str) -> Uncached:
        """Return a new one, open for writing."""
        import shutil  # few scripts run without a cache
        import tempfile

        directory = tempfile.mkdtemp(prefix="cvcache-none-")
        attempt = protocol.new_id()
        record = protocol.Record(
            seq=1,
            after="root",
            state="claimed",
            attempt=attempt,
            nonce=attempt,
            time=protocol.utc_timestamp(),
            owner=protocol.this_owner(record_host=False),
            ttl=math.inf,
            version=f"none-{attempt}",
        )
        uncached = cls(os.path.join(directory, name), record, {})
        weakref.finalize(uncached, shutil.rmtree, directory, ignore_errors=True)
        return uncached

    @property
    def store(self) -> Store:
        """The disk."""
        return open_store("file", "", {})

    @property
    def record(self) -> protocol.Record:
        """The record that a node in a store would have."""
        return self.attempt.outcome or self.attempt.record

    def end(self, state: str, **fields: Any) -> protocol.Record:
        """End the attempt with this state."""
        time = protocol.utc_timestamp()
        duration = round(self.attempt.policy.clock() - self.attempt.started, 3)
        self.attempt.outcome = self.attempt.record.next(state, protocol.new_id(), time, duration=duration, **fields)
        return self.attempt.outcome

    def keep(self, name: str, obj: Any, options: dict[str, Any], row: Mapping[str, Any]) -> bool:
        """Keep `obj` as the item `name`, if it is an array; otherwise return False."""
        self.forget(name)
        item = self.attempt.item(name)
        item.plan = item.plan or {}  # announced to nobody
        is_array = type(obj).__module__ in {"numpy", "dask.array.core"} and hasattr(obj, "dtype")
        if not is_array or formats.find_format(name).suffix == "png":
            return False
        self._arrays[name] = obj if hasattr(obj, "dask") else obj.copy(), options
        item.row = dict(row)
        return True

    def forget(self, name: str) -> None:
        """Forget the array that is kept as the item `name`, which is about to be written in another way."""
        self._arrays.pop(name, None)
        self._written.discard(name)

    def array(self, name: str) -> Any:
        """Return the array that is kept as the item `name`, a numpy array as a copy; None if it is none."""
        array, _ = self._arrays.get(name, (None, None))
        return array if array is None or hasattr(array, "dask") else array.copy()

    def write_arrays(self, *names: str) -> None:
        """Write arrays that are kept into the directory, if they are not there; all of them without `names`."""
        for name in names or list(self._arrays):
            if name in self._arrays and name not in self._written:
                array, options = self._arrays[name]
                write_item(self.attempt, name, array, options, user=self.attempt.item(name).row)
                self._written.add(name)

    def __reduce__(self) -> tuple[Any, ...]:
        self.write_arrays()
        return Uncached, (self.path, self.record, self.attempt.rows)
