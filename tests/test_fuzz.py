"""Arguments that make no sense: each ends in a result, or in a ValueError or TypeError of our own that says why."""

from pathlib import Path

import numpy as np
import pytest
from helpers import blobs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxmem as jm

X, y, X_val = blobs(8, 2, 2)
PACKAGE = str(Path(jm.__file__).parent)

NUMBERS = st.sampled_from([0, 1, -1, 2, 3, 10**6, 2**40, True, 0.5, 3.0, float("nan"), float("inf"), 1 + 2j, 2**70])
THINGS = (
    st.none() | NUMBERS | st.text(max_size=4) | st.binary(max_size=3) | st.lists(NUMBERS, max_size=3)
    | st.dictionaries(st.text(max_size=2), NUMBERS, max_size=2) | st.just(object()) | st.just(int) | st.just(len)
)  # fmt: skip
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)
DTYPES = st.sampled_from(["f8", "f4", "f2", "i8", "u1", "?", "c8", "U2", "S2", "M8[s]", "m8[s]", "O", "V2"])
EXTREMES = st.sampled_from([0.0, 1.0, -2.5, 1e-320, 1e30, -1e200, float("nan"), float("inf")])


@st.composite
def arrays(draw, shape):
    """Arrays of any kind, or of a shape that fits and with numbers that may be extreme."""
    dtype, size = draw(DTYPES), draw(SHAPES | st.just(shape))
    if dtype.startswith("f"):
        with np.errstate(over="ignore"):
            return np.resize(np.array(draw(st.lists(EXTREMES, min_size=1, max_size=5))), size).astype(dtype)
    if dtype == "O":
        return np.resize(np.array([draw(THINGS), None, 1], object), size)
    return np.resize(np.arange(5) % draw(st.integers(1, 5)), size).astype(dtype)


FEATURES = arrays((8, 2)) | THINGS
LABELS = hnp.arrays("i8", 8, elements=st.integers(-2, 2)) | arrays((8,)) | THINGS
DESIGNS = (
    st.builds(jm.SharedStructure, FEATURES)
    | st.builds(jm.SharedStructure, st.just(X_val), hnp.arrays("i8", 8) | LABELS)
    | st.builds(jm.Holdout, FEATURES, st.just(y))
    | st.builds(jm.Holdout, st.just(X_val), LABELS)
    | st.sampled_from([jm.KFold(2), jm.KFold(2, stratified=True), jm.KFold(9), jm.Resubstitution()])
    | THINGS
)
SOUND = {"classifier": jm.NearestCentroid(), "X": X, "y": y, "validation": jm.SharedStructure(X_val)}
STRANGE = {
    "classifier": st.sampled_from([jm.Ridge(), jm.KNeighbors(1), jm.KNeighbors(50)]) | THINGS,
    "X": FEATURES,
    "y": LABELS,
    "validation": DESIGNS,
    "n_permutations": THINGS,
    "key": THINGS,
    "batch_size": THINGS,
    "devices": THINGS,
}
OF_PERMUTATIONS = STRANGE | {
    "scheme": st.sampled_from(["within", "whole"]) | THINGS,
    "blocks": arrays((8,)) | THINGS,
    "metric": st.sampled_from(["roc_auc", "r2", "log_loss"]) | THINGS,
    "alternative": THINGS,
    "stopping": THINGS,
    "precision": THINGS,
    "checkpoint": st.sampled_from(["", "/", "/dev/null/x"]) | NUMBERS,
    "example_scores": st.booleans(),
}
OF_SIMILARITIES = {
    "networks": st.dictionaries(st.text(max_size=2) | NUMBERS, FEATURES, max_size=3)
    | st.lists(FEATURES | st.just(X), max_size=3)
    | arrays((3, 8, 2))
    | THINGS,
    "measure": st.sampled_from(["procrustes", "agreement", "rsa", "cca", "jensen-shannon"]) | THINGS,
}


def with_strange(sound, strange):
    """Sound arguments, of which one or two are strange: what is wrong with more of them is said of the first."""
    return st.lists(st.sampled_from(sorted(strange)), min_size=1, max_size=2, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: strange[name] for name in names}).map(lambda drawn: sound | drawn)
    )


CASES = {
    "permutation_test": with_strange(SOUND | {"n_permutations": 3, "progress": False}, OF_PERMUTATIONS),
    "memorization_test": with_strange(SOUND | {"n_permutations": 3, "progress": False}, STRANGE | {"test": DESIGNS}),
    "similarities": with_strange({"networks": [X, X_val], "measure": "cka"}, OF_SIMILARITIES),
}


def check(name, given):
    """The call returns, or is refused by jaxmem itself, in words."""
    many = given.get("n_permutations")
    if isinstance(many, (int, np.integer)) and many > 100 and not isinstance(many, bool):
        return  # Sound, and long.
    try:
        if name == "similarities":
            jm.similarities(given["networks"], given["measure"])
        else:
            getattr(jm, name)(**given)
    except (ValueError, TypeError) as error:
        trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        raised_in = trace.tb_frame.f_code.co_filename
        assert raised_in.startswith(PACKAGE), f"{raised_in} raised {error!r}"
        assert len(str(error)) > 20, error


MANY = settings(max_examples=3_400, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(MANY, max_examples=40)


@pytest.mark.parametrize("name", CASES)
@FEW
@given(data=st.data())
def test_strange_arguments(name, data, unchecked):
    check(name, data.draw(CASES[name]))


@pytest.mark.nightly
@pytest.mark.parametrize("name", CASES)
@MANY
@given(data=st.data())
def test_ten_thousand_strange_arguments(name, data, unchecked):
    check(name, data.draw(CASES[name]))
