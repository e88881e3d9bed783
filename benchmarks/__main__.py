"""Run benchmarks by name, print their figures, and keep them: `python -m benchmarks floor peers`.

On a GPU or TPU the same commands run as they are. Figures go to `benchmarks/results/`, one dated file a benchmark.
"""

import argparse
import json

from benchmarks import (
    calibration,
    checkpoints,
    devices,
    drop_in,
    ensembles,
    floor,
    label_noise,
    memory,
    monitor,
    peers,
    plan,
    scaling,
    similarity,
    start,
    streaming,
    studies,
)
from benchmarks.measure import record, rounded

BENCHMARKS = {
    "floor": floor.against_the_products,
    "many": floor.many_permutations,
    "precision": floor.precisions,
    "peers": peers.against_scikit_learn,
    "drop-in": drop_in.against_scikit_learn,
    "scaling": scaling.exponents,
    "memory": memory.peaks,
    "streaming": streaming.against_memory,
    "devices": devices.strong_scaling,
    "plan": plan.predicted_and_measured,
    "checkpoints": checkpoints.overhead,
    "monitor": monitor.beside_an_epoch,
    "ensembles": ensembles.against_single_runs,
    "similarity": similarity.all_pairs,
    "start": start.first_result,
    "label-noise": label_noise.areas,
    "calibration": calibration.type_one_errors,
    "studies": studies.outcomes,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of: {', '.join(BENCHMARKS)}; none: all of them")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    for name in names:
        figures = rounded(BENCHMARKS[name]())
        print(f"{record(name, figures)}\n{json.dumps(figures, indent=1)}", flush=True)


if __name__ == "__main__":
    main()
