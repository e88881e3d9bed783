"""From starting Python to a p-value: the digits, ridge, 999 permutations, beside `import jax` alone."""

import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.measure import in_new_process

_FIRST_RESULT = """
import jaxmem as jm
{cache}
import jax
from jaxmem.data import GaussianNoise, load
digits = load("digits")
X = digits.X_train.reshape(4_000, -1)
copies = GaussianNoise(0.2)(jax.random.key(1), digits.X_train).reshape(4_000, -1)
validation = jm.SharedStructure(copies)
def test():
    return jm.permutation_test(jm.Ridge(), X, digits.y_train, validation=validation, n_permutations=999)
print(test().pvalue)
"""
# The same test once more, when all is loaded, traced and compiled: what no cache can save.
_AGAIN = """
import json, time
start = time.perf_counter()
test()
print(json.dumps(time.perf_counter() - start))
"""


def first_result(rounds: int = 5) -> dict[str, float]:
    """Whole processes, in turn: `import jax`, the first result, and the same with the compilation cache filled.

    `least` is what is left if all but importing JAX and the arithmetic of the test took no time.
    """
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
    again = [in_new_process(_FIRST_RESULT.format(cache="") + _AGAIN) for _ in range(rounds)]
    medians["second_test_seconds"] = statistics.median(again)
    alone = medians["import_jax_seconds"]
    ratios = {f"{name}_over_import_jax": medians[f"{name}_seconds"] / alone for name in ("cold", "cached")}
    return medians | ratios | {"least_over_import_jax": 1 + medians["second_test_seconds"] / alone}
