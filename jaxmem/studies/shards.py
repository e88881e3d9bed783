"""A study's pieces computed, all of them or a share: shards that know nothing of each other, and add up to the study.

The pieces of a study have an order, and a shard is a run of it: of 100 pieces, shard 2/4 has those from 26 to 50. Each
piece belongs to one shard, so that no set of features is tested twice; pieces of one experiment lie side by side, so
that few shards train the same networks. Those that do train them alike, all seeds of an experiment together, and a
piece comes out as it would have in the whole study.
"""

import re
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jaxmem.notices import note
from jaxmem.studies.store import Store, Work

__all__ = ["WHOLE", "Shard", "complete"]


class Shard(NamedTuple):
    """Which share of a study: number `number` of `of`, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read "2/4".

        Raises:
            ValueError: not such a text, or no such shard.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise ValueError(f"shard must be a number and how many there are, 1/4 to 4/4 say, but is {text!r}.")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def keys(self, works: Iterable[Work]) -> list[Any]:
        """The keys of this shard's pieces among all of a study."""
        keys = list({Store.name(work.key): work.key for work in works}.values())
        first, end = (len(keys) * number // self.of for number in (self.number - 1, self.number))
        return keys[first:end]


WHOLE = Shard(1, 1)


def complete(
    works: Callable[[], Iterable[Work]],
    store: Store,
    *,
    shard: Shard = WHOLE,
    progress: bool = True,
) -> None:
    """Compute those pieces of a shard that are not in the store yet.

    Args:
        works: begins anew with all pieces of the study, whenever it is called.
        store: where they go.
        shard: whose pieces are computed.
        progress: show a bar on a terminal.
    """
    from tqdm import tqdm

    missing = {Store.name(key) for key in shard.keys(works()) if key not in store}
    with tqdm(total=len(missing), desc="pieces", disable=not progress or None) as bar:
        for work in works():
            name = Store.name(work.key)
            if name in missing:
                bar.set_postfix_str(work.title)
                begin = time.monotonic()
                store[work.key] = work.compute()
                missing.remove(name)
                bar.update()
                note(
                    __name__,
                    "piece",
                    "{done} of {pieces} pieces are done: {title}, {seconds:.1f} s",
                    pieces=bar.total,
                    done=bar.total - len(missing),
                    title=work.title,
                    seconds=time.monotonic() - begin,
                )
