"""What a study is: experiments that differ in one thing, and the sentences that it is meant to bear out or not."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from jaxmem.studies.conduct import conduct
from jaxmem.studies.experiment import Experiment, Setting
from jaxmem.studies.records import Record, about
from jaxmem.studies.store import Store
from jaxmem.studies.summary import Claim, decided, with_adjusted_pvalues

if TYPE_CHECKING:
    import xarray

__all__ = ["Study", "comparison", "forget", "run"]

ConfigT = TypeVar("ConfigT", bound=Setting)


@dataclass(frozen=True)
class Study(Generic[ConfigT]):
    """A study by name.

    Attributes:
        name: what the command line calls it.
        question: what it asks, in one line.
        config: the class of its options, all with defaults.
        measure: conducts it, with a store for finished pieces, and bars if they are to be shown.
        axis: the dimension along which its numbers are shown.
        claims: what its numbers say of the sentences that it is about.
        figures: names of the figures that show its numbers, as `jaxmem.plots` knows them; "wrong-labels" is drawn where
            some rows have wrong labels.
        varies: choices of an experiment that the study makes itself, such as "network.dropout", and the option of its
            configuration that takes their place.
    """

    name: str
    question: str
    config: type[ConfigT]
    measure: Callable[[ConfigT, Store, bool], "xarray.Dataset"]
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
) -> Callable[[ConfigT, Store, bool], "xarray.Dataset"]:
    """How most studies measure: conduct experiments by name, and add to their numbers what follows from them."""
    return lambda config, store, progress: finish(conduct(models(config), store, progress=progress))


def run(study: Study[ConfigT], config: ConfigT, *, progress: bool = True, unfinished: Path | None = None) -> Record:
    """Conduct a study.

    Args:
        study: which.
        config: all choices; the same configuration gives the same numbers.
        progress: show bars on a terminal.
        unfinished: folder in which finished pieces are kept until the end. A study that was killed goes on from there,
            and ends with the same numbers; `forget` the folder once they are saved. None: in memory alone.

    Raises:
        ValueError: a configuration that cannot be run, or that asks for what the study varies; training that blows up
            (with the epoch); a folder with pieces of another study, another configuration or other versions.
    """
    study.check(config)
    if unfinished is not None:
        _claim_folder(unfinished, about(study.name, config))
    try:
        data = study.measure(config, Store(unfinished), progress)
    except ValueError:
        if unfinished is not None and not any(unfinished.glob("*.npz")):
            forget(unfinished)  # Nothing is lost, and a corrected command finds no stranger's folder in its way.
        raise
    if "observed" in data:
        data = with_adjusted_pvalues(data)
    claims = [claim._asdict() for claim in decided(study.claims(data))]
    data = data.assign_attrs(axis=study.axis, question=study.question, claims=json.dumps(claims))
    return Record(study.name, dataclasses.asdict(config), data)


def forget(unfinished: Path) -> None:
    """Remove the pieces of a study that is done."""
    shutil.rmtree(unfinished, ignore_errors=True)


def _claim_folder(folder: Path, mine: dict[str, Any]) -> None:
    """Make the folder ours, or make sure that it is."""
    mine = json.loads(json.dumps(mine))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        description = folder / "about.json"
        if not description.exists():
            if any(folder.iterdir()):
                raise ValueError("it holds other things")
            description.write_text(json.dumps(mine, indent=2))
        theirs = json.loads(description.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} cannot be used for unfinished work: {error}. Remove it, or name another."
        ) from error
    if theirs != mine:
        theirs = theirs if isinstance(theirs, dict) else {}
        differing = sorted(name for name in mine if theirs.get(name) != mine[name])
        raise ValueError(
            f"{folder} holds unfinished work with another {', '.join(differing)}: remove it to start anew, or run what "
            "it was made by."
        )
