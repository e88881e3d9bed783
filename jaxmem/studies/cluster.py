"""A study on a cluster: its shards go to the workers of a Dask scheduler, and their pieces come back.

A study is a dozen tasks of minutes or hours that know nothing of each other, which any scheduler can run. Dask, for it
is Python alone, runs beneath what laboratories have (SLURM, PBS, Kubernetes, SSH: `dask-jobqueue`, `dask-kubernetes`),
and asks for nothing but a Python on every worker; what Ray adds to that, actors and a store of objects that tasks
share, no study needs. Workers need no file system in common: pieces travel.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxmem.studies.catalogue import STUDIES
from jaxmem.studies.experiment import Setting
from jaxmem.studies.records import Record, versions
from jaxmem.studies.shards import WHOLE, Shard
from jaxmem.studies.store import Piece, Store
from jaxmem.studies.study import Study, computed, opened, recorded

__all__ = ["run_on_dask"]

Pieces = Sequence[tuple[Any, Piece]]


def run_on_dask(
    study: Study[Any], config: Setting, *, address: Any, progress: bool = True, unfinished: Path | None = None
) -> Record:
    """Conduct a study on the workers of a Dask cluster, a shard for each of them.

    Every worker needs jaxmem, in the versions that the others have, and the data set; give it one process a device and
    one thread, for JAX takes all cores anyway.

    Args:
        study: which, by an entry of `STUDIES`.
        config: all choices; the numbers are those of `run` on such a worker.
        address: of the scheduler, "tcp://10.0.0.1:8786" say; or a cluster, `distributed.LocalCluster()` say.
        progress: show a bar of shards on a terminal.
        unfinished: as in `run`: shards whose pieces are all there are not conducted again.

    Raises:
        ValueError: as `run`; no `distributed` here, no such scheduler, no workers, or workers of several versions.
    """
    from tqdm import tqdm

    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ValueError("a study on a cluster takes a package more: pip install 'jaxmem[cluster]'.") from error
    store = opened(study, config, WHOLE, unfinished)
    with _client(Client, address) as client:
        there = {worker: tuple(found.items()) for worker, found in client.run(versions).items()}
        if len(set(there.values())) != 1:
            raise ValueError(f"workers must be there, all of the same versions, but are {there or 'none'}.")
        shards = [Shard(number, len(there)) for number in range(1, len(there) + 1)]
        keys = {shard: shard.keys(study.measure.pieces(config, store, False)) for shard in shards}
        missing = [shard for shard in shards if not all(key in store for key in keys[shard])]
        futures = [client.submit(_pieces, study.name, config, shard, pure=False) for shard in missing]
        with tqdm(total=len(futures), desc="shards", disable=not progress or None) as bar:
            for future in as_completed(futures):
                for key, piece in future.result():
                    store[key] = piece
                bar.update()
    try:
        record = recorded(study, config, store)
    except KeyError as error:
        raise ValueError(
            f"the workers have another data set than is here by the name {config.data.dataset!r}."
        ) from error
    return replace(record, versions=dict(next(iter(there.values()))))


def _client(client: Any, address: Any) -> Any:
    try:
        return client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise ValueError(f"there is no Dask scheduler at {address!r}: {error}.") from error


def _pieces(name: str, config: Setting, shard: Shard) -> Pieces:
    """What a worker does."""
    study = STUDIES[name]
    store = computed(study, config, shard, None, progress=False)
    return [(key, store[key]) for key in shard.keys(study.measure.pieces(config, Store(), False))]
