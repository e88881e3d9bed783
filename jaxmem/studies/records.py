"""What a study leaves behind: its labelled numbers, the configuration and versions that made them, and its files.

The numbers are one `xarray.Dataset`; saved, they are one NetCDF file that xarray opens without jaxmem. A results
folder is written whole or not at all.
"""

import dataclasses
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from jaxmem.folders import write_folder
from jaxmem.settings import as_toml
from jaxmem.studies.summary import Claim, table

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

__all__ = ["Record", "about", "as_config", "load_record", "versions"]

FORMAT = 1
_PACKAGES = ("jaxmem", "jax", "jaxlib", "flax", "optax", "numpy", "xarray")


@dataclass(frozen=True, eq=False)
class Record:
    """Result of a study.

    Attributes:
        study: its name.
        config: the configuration, as plain values.
        data: the numbers, labelled. Dimensions: model, seed, epoch, layer, perturbation, classifier, permutation,
            example; of perturbations, `kind` and `strength` stand beside the label, for two kinds have no strengths in
            common: `data.set_index(perturbation=("kind", "strength")).unstack("perturbation")` makes dimensions of
            them, with NaN where there was no test.
            Variables: observed, paired_null, broken_null, test_observed, test_null, learning, memorization,
            learning_pvalue, memorization_pvalue, example_scores (see `jaxmem.results.MemorizationTest`), p-values
            adjusted over the whole study (see `jaxmem.studies.summary`), memorization gains over the untrained network
            and over the raw inputs (layer "input"), and what the networks themselves predict. Studies that test no
            features ("patterns", "per-example") have variables of their own. Attributes: the study's question, its
            configuration, versions, and what came out of its claims.
        versions: of everything that could change a number, and the device; those of this process.

    Example:
        >>> import xarray
        >>> from jaxmem.studies import Record
        >>> data = xarray.Dataset({"learning": xarray.DataArray([0.8, 0.9], dims="seed")})
        >>> Record("mine", config={}, data=data).data.learning.max().item()
        0.9
    """

    study: str
    config: dict[str, Any]
    data: "xarray.Dataset"
    versions: dict[str, str] = field(default_factory=lambda: versions())

    @property
    def claims(self) -> list[Claim]:
        """What the numbers say of the sentences that the study is about."""
        return [Claim(**claim) for claim in json.loads(self.data.attrs["claims"])]

    def table(self) -> str:
        """Means over seeds as text, at the last epoch and layer but along the study's axis, and then the claims."""
        return "\n".join([*table(self.data), "", *map(str, self.claims)])

    def save(
        self, folder: str | os.PathLike[str], *, figures: "Mapping[str, Figure] | None" = None, force: bool = False
    ) -> Path:
        """Write `results.nc`, `config.toml` and the figures into a folder; an interruption leaves nothing half-written.

        Args:
            folder: where; its parents are made.
            figures: Matplotlib figures by file name.
            force: write into a folder that exists, replacing files of the same names and no others.

        Raises:
            ValueError: the folder exists and `force` is not given, or it cannot be written.
        """
        described = {"study": self.study, "config": self.config, "versions": self.versions, "format": FORMAT}
        # The configuration travels with the numbers too, should the file lose its folder.
        data = self.data.assign_attrs({name: json.dumps(value) for name, value in described.items()})
        compressed = {name: {"zlib": True, "complevel": 1} for name, values in data.items() if values.ndim}

        def write(finished: Path) -> None:
            data.to_netcdf(finished / "results.nc", engine="h5netcdf", encoding=compressed)
            (finished / "config.toml").write_text(
                as_config(f"study {self.study}", self.config, self.versions), encoding="utf-8"
            )
            for name, figure in (figures or {}).items():
                figure.savefig(finished / name, dpi=150)

        return write_folder(folder, write, force=force)


def as_config(command: str, config: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """A configuration as TOML, from which the same command runs it again: `jaxmem study NAME --config FILE`.

    Args:
        command: the words after `jaxmem`.
        config: all choices, as plain values.
        versions: what they were run with, for the reader.
    """
    return as_toml({"command": command, **config, "versions": versions})


def load_record(folder: str | os.PathLike[str]) -> Record:
    """Read a results folder back.

    Raises:
        ValueError: no `results.nc` of a study is there, or it is damaged, or of a newer version of jaxmem.

    Example:
        >>> import tempfile
        >>> import xarray
        >>> from jaxmem.studies import Record, load_record
        >>> data = xarray.Dataset({"learning": xarray.DataArray([0.8, 0.9], dims="seed")})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     where = Record("mine", config={}, data=data).save(f"{folder}/mine")
        ...     again = load_record(where)
        >>> again.data.learning.values
        array([0.8, 0.9])
    """
    import xarray

    path = Path(folder) / "results.nc"
    if not path.is_file():
        raise ValueError(f"there is no {path}: name the folder that `jaxmem run` or `jaxmem study` wrote.")
    try:
        data = xarray.load_dataset(path, engine="h5netcdf")
        described = {name: json.loads(data.attrs.pop(name)) for name in ("study", "config", "versions")}
        number = json.loads(data.attrs.pop("format", "1"))  # The first results were saved without.
        newer = number > FORMAT
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or not the result of a study.") from error
    if newer:
        raise ValueError(f"{path} has format {number}, but this jaxmem reads up to {FORMAT}: upgrade jaxmem.")
    return Record(described["study"], described["config"], data, described["versions"])


def about(study: str, config: Any) -> dict[str, Any]:
    """What decides the numbers of a study: its name, all its options, and versions."""
    return {"study": study, "config": dataclasses.asdict(config), "versions": versions()}


def versions() -> dict[str, str]:
    """Versions of everything that could change a number, and the device."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "device": jax.devices()[0].device_kind,
    }
