"""The command line: `jaxmem run`, `dissect`, `study NAME`, `report FOLDER`, `datasets`, `prepare NAME`."""

import dataclasses
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from jaxmem import data
from jaxmem.plots import study_figures
from jaxmem.report import write_report
from jaxmem.studies import STUDIES, Setting, dissect, epochs, load_record, study
from jaxmem.studies.records import check_folder

__all__ = ["main", "program"]

app = tyro.extras.SubcommandApp()
_DEFAULT = epochs.Config()
_DISSECTION = dissect.Config()
# One subcommand a study; its options are those of its configuration.
_OfStudy = Union[  # noqa: UP007
    tuple(
        Annotated[each.config, tyro.conf.subcommand(name, default=each.config(), description=each.question)]
        for name, each in STUDIES.items()
    )
]


@app.command
def run(
    config: epochs.Config = _DEFAULT,
    output: Path = Path("jaxmem-run"),
    force: bool = False,
    quiet: bool = False,
) -> None:
    """Tell learning from memorization in networks trained here and now: the study `epochs`.

    Trains some MLPs, makes perturbed copies of their training rows, tests their features at every kept epoch on
    shuffled labels, prints a table, and writes a folder with results.nc (xarray opens it), config.json, figures and a
    page, index.html.

    Args:
        config: what to run.
        output: folder for the results.
        force: write into the output folder even if it exists, replacing the results in it.
        quiet: show neither progress nor the table.
    """
    _conduct(config, output, force, quiet)


@app.command(name="dissect")
def run_dissect(
    config: dissect.Config = _DISSECTION,
    output: Path = Path("jaxmem-dissect"),
    force: bool = False,
    quiet: bool = False,
) -> None:
    """Compare networks that learn with networks that memorize: the study `dissect`.

    Trains groups of networks on true labels, on one random labelling, and on one of their own each, compares all pairs
    by several measures of similarity, and writes a folder as `jaxmem run` does.

    Args:
        config: what to run.
        output: folder for the results.
        force: write into the output folder even if it exists, replacing the results in it.
        quiet: show neither progress nor the table.
    """
    _conduct(config, output, force, quiet)


@app.command(name="study")
def run_study(
    config: _OfStudy,  # pyright: ignore[reportInvalidTypeForm]
    output: Path | None = None,
    force: bool = False,
    quiet: bool = False,
) -> None:
    """Conduct a study by name; a killed one goes on where it was when called again.

    Args:
        config: which study, and its options.
        output: folder for the results; none: jaxmem-NAME.
        force: write into the output folder even if it exists, replacing the results in it.
        quiet: show neither progress nor the table.
    """
    _conduct(config, output or Path(f"jaxmem-{_name(config)}"), force, quiet)


@app.command
def report(folder: tyro.conf.Positional[Path]) -> None:
    """Draw the figures of a results folder again, from results.nc alone, and write its page, index.html.

    Args:
        folder: what `jaxmem run` or `jaxmem study` wrote.
    """
    record = load_record(folder)
    figures = study_figures(record)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=150)
    print(write_report(record, folder, figures))


@app.command
def datasets(data_dir: Path | None = None) -> None:
    """List the data sets that are there, and those that `jaxmem prepare` can fetch.

    Args:
        data_dir: where data sets lie; none: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.
    """
    there = data.names(data_dir)
    print(f"ready: {', '.join(there)}")
    print(f"jaxmem prepare NAME: {', '.join(name for name in data.PREPARABLE if name not in there)}")


@app.command
def prepare(name: tyro.conf.Positional[str], data_dir: Path | None = None, manual_dir: Path | None = None) -> None:
    """Download a data set and prepare it, once; it takes network, or the publisher's files.

    Args:
        name: mnist, fashion_mnist, cifar10, ...; `jaxmem datasets` lists them.
        data_dir: where data sets lie; none: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.
        manual_dir: a folder with the publisher's files, if a browser downloaded them.
    """
    print(data.prepare(name, data_dir=data_dir, manual_dir=manual_dir))


@app.command
def version() -> None:
    """Print the versions of jaxmem and of what it stands on."""
    from jaxmem.studies.records import versions

    for name, number in versions().items():
        print(f"{name} {number}")


def _name(config: Any) -> str:
    return next(name for name, each in STUDIES.items() if each.config is type(config))


def _conduct(config: Setting, output: Path, force: bool, quiet: bool) -> None:
    folder = check_folder(output, force=force)
    unfinished = folder.with_name(f".{folder.name}-unfinished")
    record = study.run(STUDIES[_name(config)], config, progress=not quiet, unfinished=unfinished)
    figures = study_figures(record)
    record.save(folder, figures=figures, force=force)
    write_report(record, folder, figures)
    study.forget(unfinished)
    if not quiet:
        print(record.table())
        print(f"\n{', '.join(sorted(path.name for path in folder.iterdir()))} are in {folder}")


def _in_options(message: str) -> str:
    """The message with options as they are typed, `--n-train`, where Python says `n_train`."""
    fields = {name for each in STUDIES.values() for name in _fields(each.config())}
    names = "|".join(sorted(name for name in fields if "_" in name))
    return re.sub(rf"(?<![\w./-])({names})\b", lambda found: "--" + found[0].replace("_", "-"), message)


def _fields(config: Any) -> Iterator[str]:
    for name, value in vars(config).items():
        yield name
        if dataclasses.is_dataclass(value):
            yield from _fields(value)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which clusters send a moment before they kill: an end like Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 when done, 1 for a mistake in what was asked, 130 when interrupted, 143 when terminated.
    """
    try:
        app.cli(
            prog="jaxmem",
            description="Learning told apart from memorization, by label permutation.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.CascadeSubcommandArgs),
        )
    except (ValueError, OSError) as error:
        print(f"jaxmem: {_in_options(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, _Terminated)
        how = "terminated" if terminated else "interrupted"
        print(f"\njaxmem: {how}; the same command goes on where it was.", file=sys.stderr)
        return _TERMINATED if terminated else _INTERRUPTED
    return 0


# By the custom of shells: 128 and the number of the signal.
_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def program() -> None:
    """`main` as a program of its own, which takes SIGTERM as it takes Ctrl-C; a library must leave signals alone.

    An interrupt may find XLA in the middle of a computation, in threads that nothing can stop, and an interpreter that
    shuts down beneath them crashes now and then. All files are closed by then, so the process just ends.
    """
    signal.signal(signal.SIGTERM, _terminate)
    code = main()
    if code in (_INTERRUPTED, _TERMINATED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _terminate(*_: Any) -> None:
    raise _Terminated
