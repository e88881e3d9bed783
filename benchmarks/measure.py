"""How the benchmarks measure: everything that is compared runs in turn in one process, and medians are reported."""

import datetime
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmem.rates import in_turn

__all__ = ["RESULTS", "gaussian", "in_new_process", "in_turn", "peak_memory", "record", "rounded"]

RESULTS = Path(__file__).parent / "results"


def gaussian(n: int, d: int, n_classes: int, *, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, d) without structure, their labels, and perturbed copies: what is timed does not depend on it."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    return X, rng.integers(0, n_classes, n), X + noise * rng.standard_normal((n, d), dtype=np.float32)


def in_new_process(code: str, **environment: str) -> Any:
    """Run `code` in a Python of its own, and read the JSON that it prints last."""
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    return json.loads(run.stdout.splitlines()[-1])


def peak_memory() -> float:
    """Largest resident memory of this program so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not `getrusage`: its maximum is inherited from the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def record(name: str, figures: Mapping[str, Any]) -> Path:
    """Write figures with the date, the commit and the machine to `results/`."""
    device = jax.devices()[0].device_kind
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    report = {
        "benchmark": name,
        "date": today,
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "jaxmem") else ""),
        "machine": {
            "device": device,
            "processor": _processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **{package.__name__: package.__version__ for package in (jax, np)},
        },
        "load_average": round(os.getloadavg()[0], 2),
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{today}-{device.replace(' ', '-').lower()}-{name}.json"
    path.write_text(json.dumps(report, indent=1, default=lambda value: round(float(value), 4)) + "\n")
    return path


def rounded(figures: Any, digits: int = 4) -> Any:
    """The same figures with so many significant digits: nobody measured more."""
    if isinstance(figures, Mapping):
        return {name: rounded(value, digits) for name, value in figures.items()}
    return float(f"{figures:.{digits}g}") if isinstance(figures, float) else figures


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return run.stdout.strip() or ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
