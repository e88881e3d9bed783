"""Studies conducted by shares, each in a process or on a machine of its own, and put together again."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxmem.inputs import one_of
from jaxmem.settings import with_values
from jaxmem.studies.catalogue import STUDIES
from jaxmem.studies.experiment import Setting
from jaxmem.studies.records import Record
from jaxmem.studies.rows import digest
from jaxmem.studies.shards import Shard
from jaxmem.studies.store import ABOUT, Store, differing, forget
from jaxmem.studies.study import Study, computed, recorded

__all__ = ["merge", "run_shard"]


def run_shard(study: Study[Any], config: Setting, shard: Shard, folder: Path, *, progress: bool = True) -> None:
    """Compute a share of a study's pieces and leave them in a folder, for `merge`; one that was killed goes on.

    Args:
        study: which.
        config: all choices.
        shard: which share.
        folder: of this shard's own.
        progress: show bars on a terminal.

    Raises:
        ValueError: as `run`.
    """
    computed(study, config, shard, folder, progress=progress)
    for training in (path for path in folder.iterdir() if path.is_dir()):
        forget(training)


def merge(folders: Sequence[Path]) -> Record:
    """Put the shards of a study together: the record that the study as a whole would have given, number by number.

    Args:
        folders: one of every shard, in any order. The data set must be there as well, for its labels.

    Raises:
        ValueError: no folders; one that is no shard; shards of different studies, configurations, data sets or
            versions; a shard that is there twice, is missing, or has not been finished; another data set here.
    """
    if not folders:
        raise ValueError("there is nothing to merge: name the folders of all shards.")
    abouts = [_about_shard(folder) for folder in folders]
    first = abouts[0]
    for folder, about in zip(folders, abouts, strict=True):
        if others := differing(first, about, but=("shard",)):
            raise ValueError(f"{folder} differs from {folders[0]} in {', '.join(others)}: they are not of one study.")
    shards = [Shard.parse(about["shard"]) for about in abouts]
    of = shards[0].of
    if len(set(shards)) < len(shards) or any(shard.of != of for shard in shards):
        raise ValueError(f"shards {', '.join(map(str, shards))} overlap: name every shard of one partition, each once.")
    if missing := [str(shard) for shard in (Shard(number, of) for number in range(1, of + 1)) if shard not in shards]:
        raise ValueError(f"there is a gap: shards {', '.join(missing)} are missing.")
    study = STUDIES[one_of(first["study"], STUDIES, "study")]
    config = with_values(study.config(), first["config"], str(folders[0] / ABOUT))
    if digest(config) != first["data"]:
        raise ValueError(
            f"the data set {config.data.dataset!r} is another one here than where the shards were made: merge them "
            "there, or with a copy of their data."
        )
    try:
        record = recorded(study, config, Store(others=folders))
    except KeyError as error:
        raise ValueError(
            "pieces of the study are in none of the shards: one of these has not been finished, or is damaged. Conduct "
            "it again, or on."
        ) from error
    return replace(record, versions=first["versions"])


def _about_shard(folder: Path) -> dict[str, Any]:
    """What a folder says of the shard in it."""
    try:
        found = json.loads((folder / ABOUT).read_text())
        if {"study", "config", "versions", "data", "shard"} <= found.keys():
            return found
    except (OSError, ValueError, AttributeError):
        pass
    raise ValueError(f"{folder} is no shard of a study: name folders that `jaxmem study NAME --shard` wrote.")
