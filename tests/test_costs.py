"""What a test costs, by hand; what XLA counts in the programs that run; and the words of the command line."""

import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmem as jm
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
    program = jax.jit(lambda whole, split: _totals(classifier, METRICS["accuracy"], False, whole, split).metric)
    counted = program.lower(*arrays).compile().cost_analysis()["flops"]
    planned = plan(n, d, C, B - 1, classifier=name, device=UNIT)
    ours = sum(stage.products for stage in planned.stages[1:])
    # XLA counts comparisons, sums and conversions of cells, too.
    assert ours <= counted <= ours + 12 * sum(stage.cells for stage in planned.stages[1:])


def test_what_does_not_fit_is_said():
    large = plan(1_281_167, 2_048, 1_000, 10_000, device="tpu-v5e", devices=8)
    assert large.needs > 1 and "It does not fit" in str(large) and large.batch_size == 2
    assert large.memory > 4 * 4 * 1_281_167 * 2_048
    fits = plan(1_281_167, 2_048, 1_000, 10_000, device="h100")
    assert fits.needs == 1 and "fit:" not in str(fits)
    assert plan(1_281_167, 2_048, 1_000, 10_000, device="h100", precision="tf32").seconds < fits.seconds / 4
    unknown = plan(4_000, 64, 10, 999, device=replace(DEVICES["h100"], memory=float("inf")))
    assert unknown.needs == 1 and str(unknown).endswith("GB on each")


def test_this_device_is_measured():
    device = calibrate(rounds=1)
    rates = [*device.products.values(), device.cells, device.draws, device.factors]
    assert all(0 < rate < 1e16 and math.isfinite(rate) for rate in rates) and device.cached


@pytest.mark.parametrize("name", _COSTS)
def test_costs_grow_with_every_size(name):
    small = plan(500, 20, 4, 99, classifier=name, device=UNIT).seconds
    for sizes in ((600, 20, 4, 99), (500, 30, 4, 99), (500, 20, 5, 99), (500, 20, 4, 199)):
        assert plan(*sizes, classifier=name, device=UNIT).seconds > small


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": 0}, "n must be an integer >= 1"),
        ({"classes": 1}, "two classes"),
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
