"""The compilation cache, as two processes share it."""

import os
import subprocess
import sys

CODE = """
import jax
import jaxmem as jm
print(jm.enable_compilation_cache())
from jax import monitoring
hits = []
monitoring.register_event_listener(lambda event, **_: hits.append(event) if "cache_hits" in event else None)
print(jax.jit(lambda x: x * 3 + 1)(jax.numpy.arange(4.0)), len(hits))
"""


def test_what_one_process_compiled_the_next_one_finds(tmp_path):
    folder = tmp_path / "programs"
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder)}
    outputs = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True)
        outputs.append(run.stdout.splitlines())
    assert outputs[0][0] == str(folder) and any(folder.iterdir())
    first, second = (int(lines[1].split()[-1]) for lines in outputs)
    assert first == 0 and second > 0
