"""From starting Python to a p-value: the digits, ridge, 999 permutations, beside `import jax` alone."""

import statistics
import subprocess
import sys
import tempfile
import time

_FIRST_RESULT = """
import jaxmem as jm
{cache}
import jax
from jaxmem.data import GaussianNoise, load
digits = load("digits")
X = digits.X_train.reshape(4_000, -1)
copies = GaussianNoise(0.2)(jax.random.key(1), digits.X_train).reshape(4_000, -1)
test = jm.permutation_test(jm.Ridge(), X, digits.y_train, validation=jm.SharedStructure(copies), n_permutations=999)
print(test.pvalue)
"""


def first_result(rounds: int = 5) -> dict[str, float]:
    """Whole processes, in turn: `import jax`, the first result, and the same with the compilation cache filled."""
    with tempfile.TemporaryDirectory() as folder:
        codes = {
            "import_jax": "import jax",
            "import_jaxmem": "import jaxmem",
            "cold": _FIRST_RESULT.format(cache=""),
            "cached": _FIRST_RESULT.format(cache=f"jm.enable_compilation_cache({folder!r})"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in codes}
        for counted in range(rounds + 1):
            for name, code in codes.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
                if counted:  # The first round fills the caches: the operating system's, the data's, JAX's.
                    seconds[name].append(time.perf_counter() - start)
    medians = {f"{name}_seconds": statistics.median(times) for name, times in seconds.items()}
    alone = medians["import_jax_seconds"]
    return medians | {f"{name}_over_import_jax": medians[f"{name}_seconds"] / alone for name in ("cold", "cached")}
