"""What is said on the way: warnings, which point at the user's own line, and records for logs.

The logger "jaxmem" and those beneath it say when a long run starts, how far it is, and how it ends. Nothing is shown
unless a program asks for it: `logging.basicConfig(level="INFO")`, or "DEBUG" for every batch and every checkpoint. A
record carries the same facts as attributes, the first of them `event`:

    start       labellings, done, batch_size, devices       a test begins, or goes on
    batch       labellings, done, batch_size                (debug) a batch is done
    halved      labellings, done, batch_size                memory ran out: batches are of this size from here on
    saved       labellings, path                            (debug) a checkpoint is written
    resumed     labellings, path                            a checkpoint is taken up
    end         labellings, seconds                         a test is done, or decided
    piece       pieces, done, title, seconds                a piece of a study is done
"""

import logging
import sys
import warnings
from typing import Any

__all__ = ["note", "warn"]


# And what wraps its functions where shapes are checked.
_OURS = {"jaxmem", "jaxtyping", "beartype"}


def warn(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Warn at the line that called into jaxmem, however deep below it this is found out."""
    level = outermost = 1
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
            outermost = level
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=outermost + 1)


def note(room: str, event: str, message: str, *, debug: bool = False, **facts: Any) -> None:
    """Leave a record with the logger of a room.

    Args:
        room: the `__name__` of the module.
        event: what happened, in one word.
        message: the same for people, with the facts in braces.
        debug: for those only who want to know every batch.
        facts: attributes of the record.
    """
    level, logger = logging.DEBUG if debug else logging.INFO, logging.getLogger(room)
    if logger.isEnabledFor(level):
        logger.log(level, message.format(**facts), extra={"event": event, **facts})
