"""What a profiler sees of a test: where it prepares, draws, fits and scores."""

import gzip
import json

import jax
import pytest
from helpers import blobs

import jaxmem as jm

X, y, X_val = blobs(30, 5, 3)


@pytest.mark.nightly
@pytest.mark.parametrize("validation", [jm.SharedStructure(X_val), jm.KFold(2, stratified=True)])
def test_the_stages_of_a_test_have_names_in_a_profile(validation, tmp_path):
    with jax.profiler.trace(tmp_path):
        jm.permutation_test(jm.Ridge(), X, y, validation=validation, n_permutations=9, batch_size=5, progress=False)
    (trace,) = tmp_path.rglob("*.trace.json.gz")
    with gzip.open(trace) as file:
        names = [event.get("name") for event in json.load(file)["traceEvents"]]
    assert names.count("jaxmem: prepare") == 1
    for stage in ("draw", "fit and score", "finish"):
        assert names.count(f"jaxmem: {stage}") == 2  # Once a batch.
