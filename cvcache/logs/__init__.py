"""What a step says: what it logs and prints, on whichever thread or worker, as an item of its node."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.logs import spool
    from cvcache.logs.capture import capture_log, capture_log_async
    from cvcache.logs.parts import read_last_parts, read_parts
    from cvcache.logs.route import current_log, routed
    from cvcache.logs.spool import cut
    from cvcache.logs.tail import FIRST_PAUSE, LONGEST_PAUSE, Tail, bytes_after, follow, read_log
    from cvcache.logs.worker import ALLOWANCE, MESSAGE, Speaker, pieces

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["spool"],
    submod_attrs={
        "capture": ["capture_log", "capture_log_async"],
        "parts": ["read_last_parts", "read_parts"],
        "route": ["current_log", "routed"],
        "spool": ["cut"],
        "tail": ["FIRST_PAUSE", "LONGEST_PAUSE", "Tail", "bytes_after", "follow", "read_log"],
        "worker": ["ALLOWANCE", "MESSAGE", "Speaker", "pieces"],
    },
)
