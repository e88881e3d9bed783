"""What a study is: experiments that differ in one thing, and the sentences that it is meant to bear out or not."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from jaxmem.studies.conduct import labelled, pieces
from jaxmem.studies.experiment import Experiment, Setting
from jaxmem.studies.records import Record, about
from jaxmem.studies.rows import digest
from jaxmem.studies.shards import WHOLE, Shard, complete
from jaxmem.studies.store import Store, Work, claim_folder, forget
from jaxmem.studies.summary import Claim, decided, with_adjusted_pvalues

if TYPE_CHECKING:
    import xarray

__all__ = ["Measure", "Study", "comparison", "computed", "opened", "recorded", "run"]

ConfigT = TypeVar("ConfigT", bound=Setting)


@dataclass(frozen=True)
class Measure(Generic[ConfigT]):
    """How a study comes by its numbers, in two steps.

    Attributes:
        pieces: everything that has to be computed, in order, with a store for what is half done, and bars for trainings
            if they are to be shown. Nothing is computed before it is asked for; what cannot be is said at the first.
        label: makes one labelled set of numbers of all pieces in a store.
    """

    pieces: Callable[[ConfigT, Store, bool], Iterator[Work]]
    label: Callable[[ConfigT, Store], "xarray.Dataset"]


@dataclass(frozen=True)
class Study(Generic[ConfigT]):
    """A study by name.

    Attributes:
        name: what the command line calls it.
        question: what it asks, in one line.
        config: the class of its options, all with defaults.
        measure: how it comes by its numbers.
        axis: the dimension along which its numbers are shown.
        claims: what its numbers say of the sentences that it is about.
        figures: names of the figures that show its numbers, as `jaxmem.plots` knows them; "wrong-labels" is drawn where
            some rows have wrong labels.
        varies: choices of an experiment that the study makes itself, such as "network.dropout", and the option of its
            configuration that takes their place.

    Example:
        >>> from jaxmem.studies import STUDIES
        >>> STUDIES["sample-size"].question
        'Does memorization depend on the number of rows?'
    """

    name: str
    question: str
    config: type[ConfigT]
    measure: Measure[ConfigT]
    axis: Literal["epoch", "model", "layer", "perturbation", "classifier", "score"]
    claims: Callable[["xarray.Dataset"], list[Claim]]
    figures: tuple[str, ...] = ("indices", "wrong-labels")
    varies: Mapping[str, str] = field(default_factory=dict)

    def check(self, config: ConfigT) -> None:
        """Refuse a choice that the study would overrule.

        Raises:
            ValueError: it is not the study's default.
        """
        default = self.config()
        for choice, instead in self.varies.items():
            asked, own = (attrgetter(choice)(each) for each in (config, default))
            if asked != own:
                option = choice.rpartition(".")[2]
                raise ValueError(
                    f"{option} is {asked!r}, but the study {self.name} varies {option} itself: leave it out, and see "
                    f"{instead}."
                )


def comparison(
    models: Callable[[ConfigT], Mapping[str, Experiment]],
    finish: Callable[["xarray.Dataset"], "xarray.Dataset"] = lambda data: data,
) -> Measure[ConfigT]:
    """How most studies measure: conduct experiments by name, and add to their numbers what follows from them."""
    return Measure(
        lambda config, store, progress: pieces(models(config), store, progress=progress),
        lambda config, store: finish(labelled(models(config), store)),
    )


def run(study: Study[ConfigT], config: ConfigT, *, progress: bool = True, unfinished: Path | None = None) -> Record:
    """Conduct a study.

    Args:
        study: which.
        config: all choices; the same configuration gives the same numbers.
        progress: show bars on a terminal.
        unfinished: folder in which finished pieces are kept until the end. A study that was killed goes on from there,
            and ends with the same numbers; `jaxmem.studies.store.forget` the folder once they are saved. None: in
            memory alone.

    Raises:
        ValueError: a configuration that cannot be run, or that asks for what the study varies; training that blows up
            (with the epoch); a folder with pieces of another study, another configuration or other versions.

    Example:
        >>> import numpy as np
        >>> import xarray
        >>> from jaxmem.studies import Claim, Setting, Study, run
        >>> from jaxmem.studies.store import Work
        >>> from jaxmem.studies.study import Measure
        >>> def pieces(config, store, progress):
        ...     yield Work("trained", lambda: {"accuracy": np.full(config.seeds, 0.9)})
        >>> def label(config, store):
        ...     return xarray.Dataset({"accuracy": ("seed", store["trained"]["accuracy"])})
        >>> def claims(data):
        ...     return [Claim("networks learn", holds=bool((data.accuracy > 0.5).all()), seen="0.9")]
        >>> study = Study("mine", "Do networks learn?", Setting, Measure(pieces, label), axis="model", claims=claims)
        >>> run(study, Setting(seeds=3), progress=False).claims[0].outcome
        'holds'
    """
    return recorded(study, config, computed(study, config, WHOLE, unfinished, progress=progress))


def opened(study: Study[ConfigT], config: ConfigT, shard: Shard, folder: Path | None) -> Store:
    """A store for the pieces of a shard, in a folder that is ours."""
    study.check(config)
    if folder is not None:
        claim_folder(folder, about(study.name, config) | {"data": digest(config), "shard": str(shard)})
    return Store(folder)


def computed(study: Study[ConfigT], config: ConfigT, shard: Shard, folder: Path | None, *, progress: bool) -> Store:
    """A store with the pieces of a shard."""
    store = opened(study, config, shard, folder)
    try:
        complete(partial(study.measure.pieces, config, store, progress), store, shard=shard, progress=progress)
    except ValueError:
        if folder is not None and not any(folder.glob("*.npz")):
            forget(folder)  # Nothing is lost, and a corrected command finds no stranger's folder in its way.
        raise
    return store


def recorded(study: Study[ConfigT], config: ConfigT, store: Store) -> Record:
    """The record of a study whose pieces are all there."""
    data = study.measure.label(config, store)
    if "observed" in data:
        data = with_adjusted_pvalues(data)
    claims = [claim._asdict() for claim in decided(study.claims(data))]
    data = data.assign_attrs(axis=study.axis, question=study.question, claims=json.dumps(claims))
    return Record(study.name, asdict(config), data)
