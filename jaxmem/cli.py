"""The command line: `jaxmem run`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from jaxmem.plots import epochs_figure
from jaxmem.studies import epochs
from jaxmem.studies.records import check_folder

__all__ = ["main", "program"]

app = tyro.extras.SubcommandApp()
_DEFAULT = epochs.Config()


@app.command
def run(
    config: epochs.Config = _DEFAULT,
    output: Path = Path("jaxmem-run"),
    force: bool = False,
    quiet: bool = False,
) -> None:
    """Tell learning from memorization in a network trained here and now.

    Trains an MLP, makes perturbed copies of its training rows, tests the features of every layer at every kept epoch on
    shuffled labels, prints a table, and writes a folder with results.nc (xarray opens it), config.json and epochs.png.

    Args:
        config: what to run.
        output: folder for the results.
        force: write into the output folder even if it exists, replacing the results in it.
        quiet: show neither progress nor the table.
    """
    folder = check_folder(output, force=force)
    record = epochs.run(config, progress=not quiet)
    record.save(folder, figures={"epochs.png": epochs_figure(record.data)}, force=force)
    if not quiet:
        print(record.table())
        print(f"\nresults.nc, config.json and epochs.png are in {folder}")


@app.command
def version() -> None:
    """Print the versions of jaxmem and of what it stands on."""
    from jaxmem.studies.records import versions

    for name, number in versions().items():
        print(f"{name} {number}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0 when done, 1 for a mistake in what was asked, 130 when interrupted."""
    try:
        app.cli(
            prog="jaxmem",
            description="Learning told apart from memorization, by label permutation.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
    except ValueError as error:
        print(f"jaxmem: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\njaxmem: interrupted; nothing was written.", file=sys.stderr)
        return 130
    return 0


def program() -> None:
    """`main` as a program of its own.

    An interrupt may find XLA in the middle of a computation, in threads that nothing can stop, and an interpreter that
    shuts down beneath them crashes now and then. All files are closed and removed by then, so the process just ends.
    """
    code = main()
    if code == 130:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
