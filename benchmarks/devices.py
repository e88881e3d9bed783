"""Permutations, and rows, shared out among 1, 2, 4 and 8 devices: the same null, and what sharing costs or gains.

Every number of devices is a process of its own, in which the test of one device and those of all, each with a part of
the permutations or of the rows, run in turn. Devices of a CPU are feigned and share its cores: there the test of eight
takes as long as that of one where sharing costs nothing, and the ratio is the overhead. On accelerators it is the
strong scaling, over the devices that there are.
"""

from typing import Any

import jax

from benchmarks.measure import in_new_process

_TEST = """
import json, jax, numpy as np, jaxmem as jm
from benchmarks.measure import gaussian, in_turn
X, y, X_val = gaussian({n}, {d}, 10)
devices = jax.devices()[:{k}]
options = dict(validation=jm.SharedStructure(X_val), n_permutations={B}, progress=False)
rows = jax.make_mesh(({k},), ("rows",), devices=devices)
found = {{}}
for name, classifier, metric in (("ridge", jm.Ridge(), "accuracy"), ("ridge margin", jm.Ridge(), "margin"),
                                 ("1 nearest neighbour", jm.KNeighbors(1), "accuracy")):
    def test(devices):
        return jm.permutation_test(classifier, X, y, metric=metric, devices=devices, **options).null_distribution
    ways = {{"all": devices}} if isinstance(classifier, jm.KNeighbors) else {{"all": devices, "rows": rows}}
    runs = {{way: lambda given=given: test(given) for way, given in ways.items()}}
    seconds = in_turn({{"one": lambda: test(devices[:1]), **runs}}, {rounds})
    null = test(devices[:1])
    found[name] = {{"one_device_seconds": seconds["one"]}}
    for way, given in ways.items():
        of_rows = "_by_rows" if way == "rows" else ""
        found[name] |= {{
            f"all_devices_seconds{{of_rows}}": seconds[way],
            f"all_over_one{{of_rows}}": seconds[way] / seconds["one"],
            f"largest_difference_of_scores{{of_rows}}": float(np.abs(null - test(given)).max()),
        }}
print(json.dumps(found))
"""


def strong_scaling(n: int = 4_000, d: int = 128, B: int = 1_000, rounds: int = 3) -> dict[str, Any]:
    """Seconds of one and of k devices in turn, their ratios, and the largest difference between their nulls."""
    feigned = jax.default_backend() == "cpu"
    most = 8 if feigned else len(jax.devices())
    return {
        f"{k} devices": in_new_process(
            _TEST.format(n=n, d=d, B=B, k=k, rounds=rounds),
            **({"XLA_FLAGS": f"--xla_force_host_platform_device_count={k}"} if feigned else {}),
        )
        for k in (1, 2, 4, 8)
        if k <= most
    }
