"""What a test costs, by hand; what XLA counts in the programs that run; and the words of the command line."""

import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmem as jm
from jaxmem.batches import batch_size_of
from jaxmem.cli import main
from jaxmem.costs import _COSTS, DEVICES, Device, calibrate, plan
from jaxmem.fits import PreparedFit
from jaxmem.fits.prepared import _totals
from jaxmem.metrics import METRICS
from jaxmem.validation import Part

UNIT = Device("unit", dict.fromkeys(("float32", "tf32", "bfloat16"), 1.0), 1.0, 1.0, 1.0, 1e9, 1.0)


def test_the_costs_of_ridge_by_hand():
    planned = plan(100, 5, 3, 9, m=40, device=UNIT)
    prepare, draw, fit, score = planned.stages
    assert prepare.products == 5 * 100 * 25 + 2 * 40 * 25 + 6 * 125 and prepare.factors == 18 * 125
    assert draw.draws == 10 * 100 and draw.products == 0
    assert (fit.products, fit.cells) == (10 * 2 * 100 * 5 * 2, 10 * 100 * 2)
    assert (score.products, score.cells) == (10 * 2 * 40 * 5 * 2, 10 * 40 * 3)
    assert planned.seconds == sum(s.products + s.factors + s.cells + s.draws + s.sent for s in planned.stages)
    assert planned.needs == 1 and planned.batch_size == 10


def test_devices_share_rows_and_add_up_what_they_come_to():
    sizes = {"n": 1_000, "d": 50, "classes": 10, "permutations": 399}
    four, both = (plan(**sizes, device=UNIT, devices=k, rows=4) for k in (4, 8))
    floats = 4 * 50 * 9
    for planned, groups in ((four, 1), (both, 2)):
        prepare, draw, fit, score = planned.stages
        # Sums over four devices: twice three quarters of them from each, or three times; what is told, half of that.
        assert prepare.sent == 2 * groups * 4 * (2 * 3 / 4 * 4 * 50 * 50)
        assert draw.sent == 400 * 3 * 1_000 and score.sent == 8 * 400
        assert fit.sent == 400 * 4 * (2 * 3 / 4 + 3 / 4) * floats
        assert fit.products == 400 * (2 * 1_000 * 50 * 9 + 4 * 50 * 50 * 9)
        assert fit.seconds == (400 / groups) * (2 * 250 * 50 * 9 + 50 * 50 * 9 + 250 * 9) + fit.sent / (4 * groups)
        assert prepare.products == 6 * 1_000 * 50**2 + 5 * 50**3 + 6 * 50**3
    assert four.rows == 4
    of_one, of_four = (plan(8_000, 400, 3, 9, device=UNIT, devices=k, rows=k).memory for k in (1, 4))
    assert of_one / 4 < of_four < of_one / 3
    many = plan(**sizes | {"classes": 300}, device=UNIT, devices=4, rows=4)
    assert many.stages[1].sent == 4 * draw.sent  # Labels of four bytes.
    centroid = plan(**sizes, classifier="centroid", device=UNIT, devices=4, rows=4)
    assert centroid.stages[0].sent == 0 and centroid.stages[2].products == 400 * 2 * 1_000 * 50 * 9
    lda = plan(**sizes, classifier="lda", device=UNIT, devices=4, rows=4)
    assert lda.stages[2].products == 400 * (2 * 1_000 * 50 * 9 + 4 * 50 * 9**2 + 4 * 50 * 50 * 9)


def test_devices_share_all_but_preparing_and_are_sent_the_features_once():
    one, four = (plan(1_000, 50, 10, 399, device=DEVICES["h100"], devices=k) for k in (1, 4))
    assert [stage.sent for stage in one.stages] == [0, 0, 0, 0]
    assert four.stages[0].sent == 3 * 4 * (1_000 * 50 + 1_000 * 50) and four.stages[3].sent == 8 * 400
    for alone, shared in zip(one.stages[1:3], four.stages[1:3], strict=True):
        assert shared.seconds == pytest.approx(alone.seconds / 4) and shared.products == alone.products


@pytest.mark.parametrize("name", ["ridge", "centroid"])
def test_products_are_those_that_xla_counts(name, unchecked):
    """In blocks of rows that are no loop to XLA, for it counts the body of one but once."""
    n, d, C, B = 1_000, 40, 5, 8
    X = jnp.asarray(np.random.default_rng(0).normal(size=(n, d)), jnp.float32)
    labels = jnp.tile(jnp.arange(n, dtype=jnp.uint8) % C, (B, 1))
    classifier = {"ridge": jm.Ridge(), "centroid": jm.NearestCentroid()}[name]
    fit = PreparedFit(classifier, METRICS["accuracy"], X, C, {"v": Part(None, X)})
    arrays = (fit._state, fit._views, None), (labels, None, jnp.ones(B, bool))
    program = jax.jit(lambda whole, split: _totals(classifier, METRICS["accuracy"], C, False, whole, split).metric)
    counted = program.lower(*arrays).compile().cost_analysis()["flops"]
    planned = plan(n, d, C, B - 1, classifier=name, device=UNIT)
    ours = sum(stage.products for stage in planned.stages[1:])
    # XLA counts comparisons, sums and conversions of cells, too.
    assert ours <= counted <= ours + 12 * sum(stage.cells for stage in planned.stages[1:])


@pytest.mark.parametrize("n_classes", [10, 300])
def test_batches_of_one_neighbour_are_the_engines(n_classes):
    X, n, B = jnp.ones((5_000, 2)), 5_000, 99_999
    fit = PreparedFit(jm.KNeighbors(1), METRICS["accuracy"], X, n_classes, {"copies": Part(None, X)})
    labels = jnp.zeros(n, jnp.uint8 if n_classes <= 256 else jnp.int32)
    engines = batch_size_of(n, fit.bytes_per_labelling(labels), B + 1, cached=True)
    device = replace(UNIT, cached=True)
    assert plan(n, 2, n_classes, B, classifier="knn", device=device).batch_size == engines


def test_sizes_are_numpys_as_well_and_do_not_overflow(unchecked):
    sizes = 60_000, 4_096, 10, 999
    assert plan(*np.array(sizes, np.int32), device="h100") == plan(*sizes, device="h100")


def test_what_does_not_fit_is_said():
    large = plan(1_281_167, 2_048, 1_000, 10_000, device="tpu-v5e", devices=8)
    assert large.needs > 1 and "It does not fit" in str(large) and large.batch_size == 2
    assert not large.fits and "share the rows out in" in str(large)
    shared = plan(1_281_167, 2_048, 1_000, 10_000, device="tpu-v5e", devices=8, rows=8)
    assert shared.fits and "rows in 8 parts" in str(shared) and shared.memory < 16e9
    assert large.memory > 4 * 4 * 1_281_167 * 2_048
    fits = plan(1_281_167, 2_048, 1_000, 10_000, device="h100")
    assert fits.needs == 1 and "fit:" not in str(fits)
    assert plan(1_281_167, 2_048, 1_000, 10_000, device="h100", precision="tf32").seconds < fits.seconds / 4
    unknown = plan(4_000, 64, 10, 999, device=replace(DEVICES["h100"], memory=float("inf")))
    assert unknown.needs == 1 and str(unknown).endswith("GB on each")


@pytest.mark.parametrize(
    ("n", "d", "device", "needs"),
    [
        (1_281_167, 2_048, "tpu-v5e", 4),
        (100_000, 60_000, "h100", 16),  # One matrix of features by features takes 14.4 GB, and there are four of them.
        (200_000_000, 8, "tpu-v5e", 0),  # A device has all labels of as many labellings as there are parts.
    ],
)
def test_as_many_parts_as_it_needs_hold_it(n, d, device, needs):
    planned = plan(n, d, 10, 999, device=device)
    assert planned.needs == needs and not planned.fits
    if needs:
        assert f"in {needs} parts" in str(planned)
        assert plan(n, d, 10, 999, device=device, devices=needs, rows=needs).fits
        assert not plan(n, d, 10, 999, device=device, devices=needs, rows=needs // 2).fits
    else:
        assert "parts" not in str(planned) and "fewer features" in str(planned)


def test_this_device_is_measured():
    device = calibrate(rounds=1)
    rates = [*device.products.values(), device.cells, device.draws, device.factors]
    assert 0 < device.start < 10 and plan(500, 20, 4, 99, device=device).seconds > device.start
    assert all(0 < rate < 1e16 and math.isfinite(rate) for rate in rates) and device.cached


@pytest.mark.parametrize("name", _COSTS)
def test_costs_grow_with_every_size(name):
    small = plan(500, 20, 4, 99, classifier=name, device=UNIT).seconds
    for sizes in ((600, 20, 4, 99), (500, 30, 4, 99), (500, 20, 4, 199)):
        assert plan(*sizes, classifier=name, device=UNIT).seconds > small
    of_more_classes = plan(500, 20, 5, 99, classifier=name, device=UNIT).seconds
    assert of_more_classes == small if name == "knn" else of_more_classes > small  # A neighbour's label is one look-up.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": 0}, "n must be an integer >= 1"),
        ({"classes": 1}, "two classes"),
        ({"devices": 4, "rows": 3}, "rows must divide devices"),
        ({"devices": 2, "rows": 2, "classifier": "knn"}, "be 1 for knn"),
        ({"classifier": "rigde"}, "'ridge'"),
        ({"device": "h1000"}, "'h100'"),
        ({"precision": "float16"}, "float32"),
    ],
)
def test_bad_sizes_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        plan(**{"n": 10, "d": 2, "classes": 2, "permutations": 9, "device": UNIT} | changes)


def test_the_command_line_says_the_same(capsys):
    sizes = ["--n", "1000", "--d", "50", "--classes", "10", "--permutations", "999", "--device", "h100"]
    assert main(["plan", *sizes, "--devices", "8", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    planned = plan(1_000, 50, 10, 999, device="h100", devices=8)
    assert said["seconds"] == pytest.approx(planned.seconds) and said["stages"][2]["name"] == "fit"
    assert main(["plan", *sizes]) == 0
    assert "NVIDIA H100 SXM" in capsys.readouterr().out
