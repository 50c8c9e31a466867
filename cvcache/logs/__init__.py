"""The log of a step: what it logs and prints, in any thread and on any worker, as an item of its node."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.logs import spool
    from cvcache.logs.capture import capture_log, capture_log_async
    from cvcache.logs.parts import read_log_end, read_log_parts
    from cvcache.logs.route import current_log, route_output
    from cvcache.logs.spool import cut_middle
    from cvcache.logs.tail import MAX_POLL_SECONDS, MIN_POLL_SECONDS, Tail, iter_log, log_bytes_after, read_log
    from cvcache.logs.worker import MAX_CHARACTERS_PER_SECOND, MAX_MESSAGE_LENGTH, WorkerLogSender, split_into_messages

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["spool"],
    submod_attrs={
        "capture": ["capture_log", "capture_log_async"],
        "parts": ["read_log_end", "read_log_parts"],
        "route": ["current_log", "route_output"],
        "spool": ["cut_middle"],
        "tail": ["MIN_POLL_SECONDS", "MAX_POLL_SECONDS", "Tail", "log_bytes_after", "iter_log", "read_log"],
        "worker": ["MAX_CHARACTERS_PER_SECOND", "MAX_MESSAGE_LENGTH", "WorkerLogSender", "split_into_messages"],
    },
)
