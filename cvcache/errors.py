"""The exceptions that cvcache raises on purpose.

::

    CvcacheError
    |-- Usage: the call is wrong, nothing was touched
    |   |-- InvalidName        (ValueError)         a node, item or URL spelled in a way no store can keep
    |   |-- UnknownOption      (TypeError)          a keyword that no function takes; suggests the closest
    |   |-- UnknownFormat      (ValueError)         a suffix without a format
    |   |-- UnkeyableValue     (TypeError)          a value without a canonical form; names the hook
    |   |-- NotOpen            (RuntimeError)       a write or commit without an open attempt
    |   |-- NodeCommitted      (PermissionError)    a write to a committed node
    |   |-- NotComputed        (LookupError)        a plan needs what only a real run computes
    |   `-- RecursiveNode      (RuntimeError)       a node opened again inside its own body
    |-- Refusal: going on would harm what cvcache did not create
    |   |-- NotACacheDir       (FileExistsError)    foreign data lies where a node is wanted
    |   |-- ForeignItem        (FileExistsError)    an item name is taken by a file cvcache did not write
    |   `-- NotExclusive       (OSError)            the store cannot elect one winner
    |-- Contention: another owner is in the way
    |   |-- NodeBusy           (TimeoutError)       a live owner holds the node
    |   |-- LeaseLost          (RuntimeError)       another owner took the node; this result is discarded
    |   |-- NodeStale          (RuntimeError)       the key changed and ``on_stale="error"``
    |   |-- NodeReplaced       (RuntimeError)       the commit this handle is pinned to is no longer the newest
    |   `-- NodeRemoved        (NodeReplaced)       ... because the node was removed
    `-- Data: stored data, or data to be stored, cannot be used
        |-- ItemNotFound       (KeyError)           no such item in this node
        |-- ItemDamaged        (OSError)            an item differs from what its commit recorded
        |-- NotReproducible    (ValueError)         an object would be read back changed
        `-- BadRecord          (ValueError)         a record cannot be read
            `-- NewerRecord    (BadRecord)          ... because a later cvcache wrote it

The four groups are classes too (``UsageError``, ``Refusal``, ``Contention``, ``DataError``), so a
handler can say what it wants to do rather than what happened.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BadRecord",
    "Contention",
    "CvcacheError",
    "DataError",
    "ForeignItem",
    "InvalidName",
    "ItemDamaged",
    "ItemNotFound",
    "LeaseLost",
    "NewerRecord",
    "NodeBusy",
    "NodeCommitted",
    "NodeRemoved",
    "NodeReplaced",
    "NodeStale",
    "NotACacheDir",
    "NotComputed",
    "NotExclusive",
    "NotOpen",
    "NotReproducible",
    "RecursiveNode",
    "Refusal",
    "UnkeyableValue",
    "UnknownFormat",
    "UnknownOption",
    "UsageError",
]


class CvcacheError(Exception):
    """Root of everything cvcache raises on purpose."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


class UsageError(CvcacheError):
    """The call is wrong; nothing was touched."""


class InvalidName(UsageError, ValueError):
    """A node, item or URL is spelled in a way no store can keep."""


class UnknownOption(UsageError, TypeError):
    """A keyword that no function takes."""


class UnknownFormat(UsageError, ValueError):
    """An item name whose suffix has no format."""


class UnkeyableValue(UsageError, TypeError):
    """A value without a canonical form."""


class NotOpen(UsageError, RuntimeError):
    """A write or a commit without an open attempt in this process."""


class NodeCommitted(UsageError, PermissionError):
    """A write to a committed node."""


class NotComputed(UsageError, LookupError):
    """A plan needs what only a real run computes."""


class RecursiveNode(UsageError, RuntimeError):
    """A node opened again inside its own body."""


class Refusal(CvcacheError):
    """Going on would harm what cvcache did not create."""


class NotACacheDir(Refusal, FileExistsError):
    """Foreign data lies where a node is wanted."""


class ForeignItem(Refusal, FileExistsError):
    """An item name is taken by an object cvcache did not write."""


class NotExclusive(Refusal, OSError):
    """The store cannot elect exactly one of several creators."""


class Contention(CvcacheError):
    """Another owner, or a newer result, is in the way."""


class NodeBusy(Contention, TimeoutError):
    """A live owner holds the node."""


class LeaseLost(Contention, RuntimeError):
    """Another owner has taken over the node; what this owner wrote is discarded."""


class NodeStale(Contention, RuntimeError):
    """The key changed and the caller asked for an error."""


class NodeReplaced(Contention, RuntimeError):
    """The commit this handle is pinned to is no longer the newest."""


class NodeRemoved(NodeReplaced):
    """The node this handle is pinned to was removed."""


class DataError(CvcacheError):
    """Stored data, or data to be stored, cannot be used."""


class ItemNotFound(DataError, KeyError):
    """No such item in this node."""


class ItemDamaged(DataError, OSError):
    """An item differs from what its commit recorded."""


class NotReproducible(DataError, ValueError):
    """An object would be read back changed."""


class BadRecord(DataError, ValueError):
    """A record on disk cannot be read."""


class NewerRecord(BadRecord):
    """A record was written by a later cvcache."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of `choices`, else an empty string."""
    import difflib  # brings re: only a mistake needs it

    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_options(options: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise `UnknownOption` for the first of `options` that is not one of `known`."""
    known = sorted(known)
    for option in options:
        if option not in known:
            choices = ", ".join(known) or "none"
            msg = f"{where} has no option {option!r}{did_you_mean(option, known)} (it takes: {choices})"
            raise UnknownOption(msg)
