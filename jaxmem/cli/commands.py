"""What each command does. Tables and paths are printed for people, or all that there is to say as JSON for programs."""

import dataclasses
import json as json_format
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
import tyro

from jaxmem import data
from jaxmem.cli.testing import Options, as_values, conduct, validation_of
from jaxmem.costs import plan
from jaxmem.folders import check_folder, write_folder
from jaxmem.plots import MemorizationTestDisplay, PermutationTestDisplay, study_figures
from jaxmem.report import write_report
from jaxmem.results import MemorizationTest, PermutationTest
from jaxmem.studies import STUDIES, Record, Setting, dissect, epochs, load_record
from jaxmem.studies.cluster import run_on_dask
from jaxmem.studies.merging import merge, run_shard
from jaxmem.studies.records import as_config, versions
from jaxmem.studies.shards import Shard
from jaxmem.studies.store import ABOUT, forget
from jaxmem.studies.study import run
from jaxmem.studies.summary import numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COMMANDS", "Flat"]


ValueT = TypeVar("ValueT")
# Options without the name of the parameter before them, or as a headline above them.
Flat = Annotated[ValueT, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Output:
    """Where results go, and what is printed.

    Args:
        output: folder for the results; None: jaxmem-NAME, by the name of the command or the study.
        force: write into that folder even if it exists, replacing the results in it.
        quiet: show neither progress nor results.
        json: print what came out as JSON, for programs.
    """

    output: Path | None = None
    force: bool = False
    quiet: bool = False
    json: bool = False

    def folder(self, name: str) -> Path:
        """The folder for the results of a command or study, checked before any work."""
        return check_folder(self.output or f"jaxmem-{name}", force=self.force)

    def tell(self, text: str, values: Mapping[str, Any]) -> None:
        """Print what came out, for people or for programs."""
        if self.json:
            _print_json(values)
        elif not self.quiet:
            print(text)


def run_epochs(output: Flat[Output], setting: Flat[epochs.Config]) -> None:
    """Tell learning from memorization in networks trained here and now: the study `epochs`.

    Trains some MLPs, makes perturbed copies of their training rows, tests their features at every kept epoch on
    shuffled labels, prints a table, and writes a folder with results.nc (xarray opens it), config.toml, figures and a
    page, index.html.
    """
    _conduct(setting, output, "run")


def run_dissect(output: Flat[Output], setting: Flat[dissect.Config]) -> None:
    """Compare networks that learn with networks that memorize: the study `dissect`.

    Trains groups of networks on true labels, on one random labelling, and on one of their own each, compares all pairs
    by several measures of similarity, and writes a folder as `jaxmem run` does.
    """
    _conduct(setting, output, "dissect")


def run_study(output: Flat[Output], setting: Any, shard: str | None = None, dask: str | None = None) -> None:
    """Conduct a study by name; a killed one goes on where it was when called again.

    Args:
        setting: which study; `jaxmem study NAME --help` has its options.
        shard: conduct a share of it only, 2/4 say: the second of four, which `jaxmem merge` puts together.
        dask: conduct it on the workers of the Dask scheduler at an address, tcp://10.0.0.1:8786 say.
    """
    if shard is None:
        _conduct(setting, output, _name(setting), dask)
    elif dask is None:
        _conduct_shard(setting, output, Shard.parse(shard))
    else:
        raise ValueError("shard and dask are both given: the workers share the study out by themselves.")


def run_test(output: Flat[Output], setting: Flat[Options]) -> None:
    """Test features and labels of your own, from files: have the labels to do with the features?

    Scores copies of the rows, a holdout or folds, prints the p-value, and writes a folder with test.npz (`jaxmem.load`
    reads it), null.png and config.toml.
    """
    folder = output.folder("test")
    unfinished = _unfinished(folder)
    test = conduct(setting, unfinished / "test.npz", progress=not output.quiet)

    def write(finished: Path) -> None:
        test.save(finished / "test.npz")
        if not np.ndim(test.statistic):  # Of several values of a setting there is no one null to draw.
            _null_figure(test).savefig(finished / "null.png", dpi=150)
        text = as_config("test", dataclasses.asdict(setting), versions())
        (finished / "config.toml").write_text(text, encoding="utf-8")

    folder = write_folder(folder, write, force=output.force)
    forget(unfinished)
    verdict = f"\n\n{test.verdict()}" if isinstance(test, MemorizationTest) else ""
    validation = validation_of(setting)
    text = f"{test}\n  validation: {validation}{verdict}\n\n{_listed(folder)}"
    output.tell(text, {"validation": validation, **as_values(test), **_files(folder)})


def merge_shards(output: Flat[Output], folders: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Put the shards of a study together: the results are those of the whole study, number by number.

    Args:
        folders: what `jaxmem study NAME --shard i/k` wrote, one folder of every shard.
    """
    record = merge(folders)
    _write(record, output.folder(record.study), output)


def report(folder: tyro.conf.Positional[Path], json: bool = False) -> None:
    """Draw the figures of a results folder again, from results.nc alone, and write its page, index.html.

    Args:
        folder: what `jaxmem run` or `jaxmem study` wrote.
        json: print the page and the study's numbers as JSON.
    """
    record = load_record(folder)
    figures = study_figures(record)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=150)
    page = write_report(record, folder, figures)
    if json:
        _print_json({"page": str(page), **_as_values(record), **_files(folder)})
    else:
        print(page)


def datasets(data_dir: Path | None = None, json: bool = False) -> None:
    """List the data sets that are there, and those that `jaxmem prepare` can fetch.

    Args:
        data_dir: where data sets lie; None: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.
        json: print the two lists as JSON.
    """
    ready = list(data.names(data_dir))
    others = [name for name in data.PREPARABLE if name not in ready]
    if json:
        _print_json({"ready": ready, "preparable": others})
    else:
        print(f"ready: {', '.join(ready)}\njaxmem prepare NAME: {', '.join(others)}")


def prepare(name: tyro.conf.Positional[str], data_dir: Path | None = None, manual_dir: Path | None = None) -> None:
    """Download a data set and prepare it, once; it takes network, or the publisher's files.

    Args:
        name: mnist, fashion_mnist, cifar10, ...; `jaxmem datasets` lists them.
        data_dir: where data sets lie; None: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.
        manual_dir: a folder with the publisher's files, if a browser downloaded them.
    """
    print(data.prepare(name, data_dir=data_dir, manual_dir=manual_dir))


def plan_test(
    n: int,
    d: int,
    classes: int,
    permutations: int = 9_999,
    m: int | None = None,
    classifier: str = "ridge",
    device: str = "here",
    devices: int = 1,
    rows: int = 1,
    precision: str = "float32",
    json: bool = False,
) -> None:
    """Say what a permutation test costs before it is run: operations, memory, seconds.

    Args:
        n: training rows.
        d: features.
        classes: number of classes.
        permutations: how many shuffles.
        m: rows to score; None: as many as training rows.
        classifier: "ridge", "lda", "centroid" or "knn".
        device: "here", which is measured first, or by its data sheet "h100", "tpu-v5e" or "tpu-v5p".
        devices: how many of them there are.
        rows: how many parts they share the rows out in; 1: each holds all, and they share the permutations out.
        precision: "float32", "tf32" or "bfloat16", of the products that depend on labels.
        json: print the numbers as JSON.
    """
    options = {"m": m, "classifier": classifier, "device": device, "devices": devices, "rows": rows}
    planned = plan(n, d, classes, permutations, **options, precision=precision)
    if json:
        _print_json({**dataclasses.asdict(planned), "seconds": planned.seconds})
    else:
        print(planned)


def version() -> None:
    """Print the versions of jaxmem and of what it stands on."""
    for name, number in versions().items():
        print(f"{name} {number}")


COMMANDS = {
    "run": run_epochs,
    "test": run_test,
    "study": run_study,
    "dissect": run_dissect,
    "merge": merge_shards,
    "report": report,
    "datasets": datasets,
    "prepare": prepare,
    "plan": plan_test,
    "version": version,
}


def _name(setting: Setting) -> str:
    return next(name for name, each in STUDIES.items() if each.config is type(setting))


def _conduct(setting: Setting, output: Output, name: str, dask: str | None = None) -> None:
    folder = output.folder(name)
    unfinished, conducted = _unfinished(folder), run if dask is None else partial(run_on_dask, address=dask)
    record = conducted(STUDIES[_name(setting)], setting, progress=not output.quiet, unfinished=unfinished)
    _write(record, folder, output)
    forget(unfinished)


def _conduct_shard(setting: Setting, output: Output, shard: Shard) -> None:
    """Leave the shard's pieces in a folder, which has its name once they are all there."""
    name = _name(setting)
    whole = output.output or Path(f"jaxmem-{name}")
    folder = check_folder(whole.with_name(f"{whole.name}-{shard.number}-of-{shard.of}"), force=output.force)
    if folder.exists() and not (folder / ABOUT).is_file():
        raise ValueError(f"{folder} is no shard of a study, and is not replaced by one: name another --output.")
    unfinished = _unfinished(folder)
    run_shard(STUDIES[name], setting, shard, unfinished, progress=not output.quiet)
    forget(folder)
    unfinished.rename(folder)
    values = {"study": name, "shard": str(shard), "folder": str(folder)}
    output.tell(f"shard {shard} of the study {name} is in {folder}", values)


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-unfinished")


def _write(record: Record, folder: Path, output: Output) -> None:
    """Write a record with its figures and page, and print what is wanted of it."""
    figures = study_figures(record)
    folder = record.save(folder, figures=figures, force=output.force)
    write_report(record, folder, figures)
    output.tell(f"{record.table()}\n\n{_listed(folder)}", {**_as_values(record), **_files(folder)})


def _as_values(record: Record) -> dict[str, Any]:
    claims = [{**claim._asdict(), "outcome": claim.outcome} for claim in record.claims]
    return {"study": record.study, "claims": claims, "numbers": numbers(record.data)}


def _null_figure(test: PermutationTest | MemorizationTest) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    if isinstance(test, MemorizationTest):
        MemorizationTestDisplay.from_result(test, ax=figure.subplots())
    else:
        PermutationTestDisplay.from_result(test, ax=figure.subplots())
    return figure


def _listed(folder: Path) -> str:
    return f"{', '.join(_files(folder)['files'])} are in {folder}"


def _files(folder: Path) -> dict[str, Any]:
    return {"folder": str(folder), "files": sorted(path.name for path in folder.iterdir())}


def _print_json(values: Mapping[str, Any]) -> None:
    print(json_format.dumps(_finite(values), indent=2))


def _finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: null."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value
