"""What each command does. Tables and paths are printed for people, or all that there is to say as JSON for programs."""

import dataclasses
import json as json_format
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from jaxmem import data
from jaxmem.cli.testing import Options, as_values, conduct
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

__all__ = ["COMMANDS"]


def run_epochs(
    setting: epochs.Config,
    output: Path = Path("jaxmem-run"),
    config: Path | None = None,
    force: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Tell learning from memorization in networks trained here and now: the study `epochs`.

    Trains some MLPs, makes perturbed copies of their training rows, tests their features at every kept epoch on
    shuffled labels, prints a table, and writes a folder with results.nc (xarray opens it), config.toml, figures and a
    page, index.html.

    Args:
        setting: what to run.
        output: folder for the results.
        config: begin with the choices in a file, the config.toml of another run say; options given beside it count.
        force: write into the output folder even if it exists, replacing the results in it.
        quiet: show neither progress nor the table.
        json: print what came out as JSON instead of the table.
    """
    _conduct(setting, output, force, quiet, json)


def run_dissect(
    setting: dissect.Config,
    output: Path = Path("jaxmem-dissect"),
    config: Path | None = None,
    force: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Compare networks that learn with networks that memorize: the study `dissect`.

    Trains groups of networks on true labels, on one random labelling, and on one of their own each, compares all pairs
    by several measures of similarity, and writes a folder as `jaxmem run` does.

    Args:
        setting: what to run.
        output: folder for the results.
        config: begin with the choices in a file, the config.toml of another run say; options given beside it count.
        force: write into the output folder even if it exists, replacing the results in it.
        quiet: show neither progress nor the table.
        json: print what came out as JSON instead of the table.
    """
    _conduct(setting, output, force, quiet, json)


def run_study(
    setting: Any,
    output: Path | None = None,
    shard: str | None = None,
    dask: str | None = None,
    config: Path | None = None,
    force: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Conduct a study by name; a killed one goes on where it was when called again.

    Args:
        setting: which study, and its options.
        output: folder for the results; none: jaxmem-NAME.
        shard: conduct a share of it only, 2/4 say: the second of four, which `jaxmem merge` puts together.
        dask: conduct it on the workers of the Dask scheduler at an address, tcp://10.0.0.1:8786 say.
        config: begin with the choices in a file, the config.toml of another run say; options given beside it count.
        force: write into the output folder even if it exists, replacing the results in it.
        quiet: show neither progress nor the table.
        json: print what came out as JSON instead of the table.
    """
    output = output or Path(f"jaxmem-{_name(setting)}")
    if shard is None:
        _conduct(setting, output, force, quiet, json, dask)
    elif dask is None:
        _conduct_shard(setting, Shard.parse(shard), output, force, quiet, json)
    else:
        raise ValueError("shard and dask are both given: the workers share the study out by themselves.")


def run_test(
    setting: Options,
    output: Path = Path("jaxmem-test"),
    config: Path | None = None,
    force: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Test features and labels of your own, from files: have the labels to do with the features?

    Scores copies of the rows, a holdout or folds, prints the p-value, and writes a folder with test.npz (`jaxmem.load`
    reads it), null.png and config.toml.

    Args:
        setting: what to test.
        output: folder for the results.
        config: begin with the choices in a file, the config.toml of another test say; options given beside it count.
        force: write into the output folder even if it exists, replacing the results in it.
        quiet: show neither progress nor the result.
        json: print what came out as JSON.
    """
    folder = check_folder(output, force=force)
    unfinished = _unfinished(folder)
    test = conduct(setting, unfinished / "test.npz", progress=not quiet)

    def write(finished: Path) -> None:
        test.save(finished / "test.npz")
        if not np.ndim(test.statistic):  # Of several values of a setting there is no one null to draw.
            _null_figure(test).savefig(finished / "null.png", dpi=150)
        text = as_config("test", dataclasses.asdict(setting), versions())
        (finished / "config.toml").write_text(text, encoding="utf-8")

    folder = write_folder(folder, write, force=force)
    forget(unfinished)
    if json:
        _print_json({**as_values(test), **_files(folder)})
    elif not quiet:
        print(f"{test}\n\n{', '.join(_files(folder)['files'])} are in {folder}")


def merge_shards(
    folders: tyro.conf.Positional[tuple[Path, ...]],
    output: Path,
    force: bool = False,
    quiet: bool = False,
    json: bool = False,
) -> None:
    """Put the shards of a study together: the results are those of the whole study, number by number.

    Args:
        folders: what `jaxmem study NAME --shard i/k` wrote, one folder of every shard.
        output: folder for the results.
        force: write into the output folder even if it exists, replacing the results in it.
        quiet: do not show the table.
        json: print what came out as JSON instead of the table.
    """
    check_folder(output, force=force)
    _write(merge(folders), output, force, quiet, json)


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
        data_dir: where data sets lie; none: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.
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
        data_dir: where data sets lie; none: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.
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
    precision: str = "float32",
    json: bool = False,
) -> None:
    """Say what a permutation test costs before it is run: operations, memory, seconds.

    Args:
        n: training rows.
        d: features.
        classes: number of classes.
        permutations: how many shuffles.
        m: rows to score; none: as many as training rows.
        classifier: "ridge", "lda", "centroid" or "knn".
        device: "here", which is measured first, or by its data sheet "h100", "tpu-v5e" or "tpu-v5p".
        devices: how many of them share the permutations out.
        precision: "float32", "tf32" or "bfloat16", of the products that depend on labels.
        json: print the numbers as JSON.
    """
    planned = plan(
        n, d, classes, permutations, m=m, classifier=classifier, device=device, devices=devices, precision=precision
    )
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


def _conduct(setting: Setting, output: Path, force: bool, quiet: bool, json: bool, dask: str | None = None) -> None:
    folder = check_folder(output, force=force)
    unfinished, conducted = _unfinished(folder), run if dask is None else partial(run_on_dask, address=dask)
    record = conducted(STUDIES[_name(setting)], setting, progress=not quiet, unfinished=unfinished)
    _write(record, folder, force, quiet, json)
    forget(unfinished)


def _conduct_shard(setting: Setting, shard: Shard, output: Path, force: bool, quiet: bool, json: bool) -> None:
    """Leave the shard's pieces in a folder, which has its name once they are all there."""
    folder = check_folder(output.with_name(f"{output.name}-{shard.number}-of-{shard.of}"), force=force)
    if folder.exists() and not (folder / ABOUT).is_file():
        raise ValueError(f"{folder} is no shard of a study, and is not replaced by one: name another --output.")
    unfinished = _unfinished(folder)
    run_shard(STUDIES[_name(setting)], setting, shard, unfinished, progress=not quiet)
    forget(folder)
    unfinished.rename(folder)
    if json:
        _print_json({"study": _name(setting), "shard": str(shard), "folder": str(folder)})
    elif not quiet:
        print(f"shard {shard} of the study {_name(setting)} is in {folder}")


def _unfinished(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-unfinished")


def _write(record: Record, folder: Path, force: bool, quiet: bool, json: bool) -> None:
    """Write a record with its figures and page, and print what is wanted of it."""
    figures = study_figures(record)
    folder = record.save(folder, figures=figures, force=force)
    write_report(record, folder, figures)
    if json:
        _print_json({**_as_values(record), **_files(folder)})
    elif not quiet:
        print(record.table())
        print(f"\n{', '.join(_files(folder)['files'])} are in {folder}")


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
