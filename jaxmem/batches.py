"""Batches: how large they are, and the loop over them: it never waits, survives a full memory, and loses no batch."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import jax

from jaxmem.notices import note, warn

__all__ = ["BATCH_BYTES", "batch_size_of", "in_batches"]

# What one batch may hold, if the caller does not say: enough to keep a device busy, little beside its memory. On a CPU
# the fits and the scores of a block of rows should stay in the cache, too: that is worth a fifth of the time.
BATCH_BYTES = 2**26
_CACHED_BYTES = 2**23
_LARGEST_BATCH = 1_024
# Where features are read a block at a time, every batch reads all of them anew: the fewer batches the better.
_STREAMED_BATCH_BYTES = 2**30


def batch_size_of(n: int, fit_bytes: int, total: int, *, cached: bool, streamed: bool = False) -> int:
    """Labellings a batch, of so many rows and of so many bytes a fit, which a CPU should find in its cache.

    All batches are alike, so that one program does for all of them and the last one is as full as the others.
    """
    if streamed:
        # The labels of both kinds.
        largest = min(_STREAMED_BATCH_BYTES // (2 * n + fit_bytes), _LARGEST_BATCH)
    else:
        # Drawing labels moves a cell number of 4 bytes and a label or two per row.
        largest = min(BATCH_BYTES // (8 * n + fit_bytes), _LARGEST_BATCH)
        if cached:
            largest = min(largest, _CACHED_BYTES // max(fit_bytes, 1))
    n_batches = -(-total // max(largest, 1))
    return -(-total // n_batches)


def in_batches(
    launch: Callable[[int, int], Any],
    fetch: Callable[[int, Any], Any],
    take: Callable[[int, Any], bool],
    *,
    first: int,
    total: int,
    size: int,
    multiple: int = 1,
    halve: bool = True,
    stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
) -> int:
    """Go through things first .. total - 1 in batches, in order.

    Where a batch does not fit into memory, it and all that follow are halved, and a warning says so. An interrupt is
    passed on once the batches under way are taken.

    Raises:
        KeyboardInterrupt: `stop` said so.

    Args:
        launch: told where a batch starts and how long it is, always as long as the others, returns JAX arrays that need
            not be there yet.
        fetch: told where a batch starts and what `launch` returned, waits for it and returns what there is to take.
        take: told where a batch starts and what `fetch` returned, keeps it; returns whether that is enough. After an
            interrupt it may be told of a batch twice. Its errors are passed on, those of memory too, for it may have
            kept the batch by then, and smaller ones would not start where it is.
        first, total: as above.
        size: how long batches are, a multiple of `multiple`.
        multiple: what a batch can be cut to at the least.
        halve: whether batches are halved where memory does not hold them; if not, that is an error.
        stop: asked after every batch but the last whether to end as by an interrupt.
        progress: show a bar on a terminal if it takes more than a moment.

    Returns:
        How long batches were in the end.
    """
    # A device need not wait for the host if the next batch is there already. A CPU is its own host, and two batches at
    # once would push each other out of its caches.
    ahead = 0 if jax.default_backend() == "cpu" else 1
    launched = taken = first
    flight: deque[tuple[int, Any]] = deque()  # Where a batch starts, and what it will be.

    with _bar(total - first, progress) as advance:

        def land(batch: Any) -> bool:
            nonlocal taken
            start = flight[0][0]
            enough = take(start, batch)
            advance(min(size, total - start))
            taken = start + size
            flight.popleft()
            done = min(taken, total)
            facts = {"labellings": total, "done": done, "batch_size": size}
            note(__name__, "batch", "{done} of {labellings} labellings are done", debug=True, **facts)
            return enough

        try:
            while taken < total:
                try:
                    if launched < total and len(flight) <= ahead:
                        flight.append((launched, launch(launched, size)))
                        launched += size
                        continue
                    batch = fetch(*flight[0])
                except (jax.errors.JaxRuntimeError, MemoryError) as error:
                    if not _out_of_memory(error):
                        raise
                    if not halve:
                        error.add_note(
                            f"A batch of {size} does not fit into the memory of one of several processes: pass a "
                            f"smaller batch_size to all of them, batch_size={max(size // 2, 1)} say."
                        )
                        raise
                    if size <= multiple:
                        error.add_note(
                            f"A batch of {size} does not fit into memory, and cannot be smaller: take fewer rows or "
                            "features, or a classifier that holds less."
                        )
                        raise
                else:
                    if land(batch):
                        break
                    if taken < total and stop():
                        raise KeyboardInterrupt
                    continue
                # Only here, where the error is gone, and with it all that it held on to.
                flight.clear()
                launched, size = taken, -(-size // 2 // multiple) * multiple
                note(
                    __name__,
                    "halved",
                    "out of memory after {done} of {labellings} labellings: batches of {batch_size} from here on",
                    labellings=total,
                    done=taken,
                    batch_size=size,
                )
                warn(
                    f"Out of memory after {taken - first} of {total - first} labellings: going on from there in "
                    f"batches of {size}. Pass batch_size={size} to begin with that."
                )
        except KeyboardInterrupt:
            while flight:
                land(fetch(*flight[0]))
            raise
        finally:
            # Whatever ends the run: an interpreter that exits while a program runs may crash.
            jax.block_until_ready([arrays for _, arrays in flight])
    return size


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


@contextmanager
def _bar(total: int, show: bool) -> Generator[Callable[[int], Any]]:
    """A bar that counts labellings once a run takes longer than a moment."""
    if not show:
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="perm", delay=2, disable=None, leave=False) as bar:
        yield bar.update
