"""What a study leaves behind: its labelled numbers, the configuration and versions that made them, and its files.

The numbers are one `xarray.Dataset`; saved, they are one NetCDF file that xarray opens without jaxmem. A results
folder is written whole or not at all.
"""

import json
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["Record", "check_folder"]

_PACKAGES = ("jaxmem", "jax", "jaxlib", "flax", "optax", "numpy", "xarray")


@dataclass(frozen=True, eq=False)
class Record:
    """Result of a study.

    Attributes:
        study: its name.
        config: the configuration, as plain values.
        data: the numbers, labelled. Dimensions: classifier, epoch, layer, perturbation, permutation, example.
            Variables:
            observed, paired_null, broken_null, test_observed, test_null, learning, memorization, learning_pvalue,
            example_scores (see `jaxmem.results.MemorizationTest`), and the memorization gains over the untrained
            network and over the raw input.
    """

    study: str
    config: dict[str, Any]
    data: "xarray.Dataset"

    def table(self, layer: str | None = None) -> str:
        """The numbers of one layer (None: the last) and of the raw input as text.

        A line per epoch, perturbation and classifier; see the attributes of `jaxmem.results.MemorizationTest`.
        """
        last = str(self.data.layer.values[-1]) if layer is None else layer
        blocks = {
            "input": self.data.sel(layer="input", epoch=0),
            **{f"epoch {epoch}": self.data.sel(layer=last, epoch=epoch) for epoch in self.data.epoch.values},
        }
        lines = [f"features of {last}; epoch 0 is the untrained network", _HEADER, "-" * len(_HEADER)]
        for name, block in blocks.items():
            lines += [
                _line(name, block.sel(perturbation=perturbation, classifier=classifier))
                for perturbation in block.perturbation.values
                for classifier in block.classifier.values
            ]
        return "\n".join(lines)

    def save(
        self, folder: str | os.PathLike, *, figures: "Mapping[str, Figure] | None" = None, force: bool = False
    ) -> Path:
        """Write `results.nc`, `config.json` and the figures into a folder; an interruption leaves nothing half-written.

        Args:
            folder: where; its parents are made.
            figures: Matplotlib figures by file name.
            force: write into a folder that exists, replacing files of the same names and no others.

        Raises:
            ValueError: the folder exists and `force` is not given, or it cannot be written.
        """
        folder = check_folder(folder, force=force)
        about = {"study": self.study, "config": self.config, "versions": versions()}
        # The configuration travels with the numbers too, should the file lose its folder.
        data = self.data.assign_attrs({name: json.dumps(value) for name, value in about.items()})
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as workshop:
            finished = Path(workshop, folder.name)
            finished.mkdir()
            data.to_netcdf(finished / "results.nc", engine="h5netcdf")
            (finished / "config.json").write_text(json.dumps(about, indent=2) + "\n")
            for name, figure in (figures or {}).items():
                figure.savefig(finished / name, dpi=150)
            if folder.exists():
                for file in finished.iterdir():
                    file.replace(folder / file.name)
            else:
                finished.rename(folder)
        return folder


def check_folder(folder: str | os.PathLike, *, force: bool = False) -> Path:
    """Make sure, before any work, that results can be written to a folder.

    Raises:
        ValueError: it exists and `force` is not given, is a file, or cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder for the results.")
    if folder.exists() and not force:
        raise ValueError(f"{folder} exists: name another folder, or pass --force (force=True) to replace its results.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for place in (folder.parent, folder) if folder.exists() else (folder.parent,):
            with tempfile.TemporaryFile(dir=place):
                pass
    except OSError as error:
        raise ValueError(f"{folder} cannot be written: {error.strerror}. Name a folder that can be.") from error
    return folder


def versions() -> dict[str, str]:
    """Versions of everything that could change a number, and the device."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "device": jax.devices()[0].device_kind,
    }


_HEADER = (
    f"{'features':<9} {'perturbation':<19} {'classifier':<10} {'observed':>8}  {'null mean ± sd':>15}  {'chance':>6}"
    f"  {'test':>6}  {'learning':>8}  {'memorization':>12}  {'gain':>7}  {'p':>6}"
)


def _line(name: str, row: "xarray.Dataset") -> str:
    null = row.paired_null
    return (
        f"{name:<9} {row.perturbation.item():<19} {row.classifier.item():<10} {row.observed.item():8.3f}  "
        f"{null.mean().item():6.3f} ± {null.std().item():6.4f}  {row.broken_null.mean().item():6.3f}  "
        f"{row.test_observed.item():6.3f}  {row.learning.item():8.3f}  {row.memorization.item():12.3f}  "
        f"{row.memorization_gain.item():+7.3f}  {row.learning_pvalue.item():6.3f}"
    )
