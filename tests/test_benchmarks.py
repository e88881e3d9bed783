"""The benchmarks still run, on sizes that say nothing about speed; what they report is arithmetic on what they time."""

import json
import math

import pytest

from benchmarks import (
    checkpoints,
    devices,
    ensembles,
    floor,
    history,
    label_noise,
    measure,
    memory,
    monitor,
    peers,
    plan,
    scaling,
    similarity,
    streaming,
    studies,
)
from jaxmem.studies import Tests, Training


def test_in_turn_waits_and_takes_medians():
    calls = []
    seconds = measure.in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4  # One round to compile.
    assert set(seconds) == {"a", "b"} and all(value >= 0 for value in seconds.values())


def test_floor_on_small_sizes():
    figures = floor.against_the_products(n=60, d=5, n_classes=3, n_permutations=64, rounds=1)
    ratio = figures["floor_seconds"] / figures["test_seconds"]
    assert math.isclose(figures["throughput_over_floor"], ratio)
    assert figures["floor_in"] in figures["products_seconds"]


@pytest.mark.nightly
def test_peers_agree_on_small_sizes(monkeypatch):
    monkeypatch.setattr(peers, "SHAPES", {"small": (60, 5, 3)})
    few = {name: peers.PEERS[name]._replace(n_permutations=5, n_refits=2) for name in ("ridge", "nearest centroid")}
    monkeypatch.setattr(peers, "PEERS", few)
    figures = peers.against_scikit_learn(rounds=1)
    assert all(figures["small"][name]["ratio"] > 0 for name in few)


@pytest.mark.nightly
def test_exponents_of_a_small_range(monkeypatch):
    monkeypatch.setattr(scaling, "_BASE", {"B": 4, "n": 50, "m": 50, "d": 3})
    monkeypatch.setattr(scaling, "_RANGES", {"B": (2, 8), "n": (50, 100), "d": (3, 6)})
    assert set(scaling.exponents(rounds=1)) == {"B", "n", "m", "d"}


@pytest.mark.nightly
def test_memory_is_measured_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(memory, "SIZES", [(100, 4, 3)])
    (figures,) = memory.peaks().values()
    assert figures["peak_mib"] >= figures["before_mib"] > figures["inputs_mib"]


@pytest.mark.nightly
def test_streaming_beside_memory_on_small_sizes(monkeypatch):
    monkeypatch.setattr(streaming, "MEMORY_SIZES", (200,))
    monkeypatch.setattr(streaming, "MEMORY_FEATURES", 4)
    figures = streaming.against_memory(n=60, d=4, n_classes=3, n_permutations=9, rounds=1)
    assert figures["largest_difference_of_scores"] == 0
    seconds = figures["seconds"]
    assert math.isclose(figures["throughput_over_memory"], seconds["in memory"] / seconds["streamed"])
    (memory,) = figures["memory"].values()
    assert memory["peak_mib"] >= memory["before_mib"] > memory["features_mib"]


@pytest.mark.nightly
def test_devices_on_small_sizes():
    figures = devices.strong_scaling(n=60, d=4, B=20, rounds=1)
    assert list(figures) == ["1 devices", "2 devices", "4 devices", "8 devices"]
    assert all(of["1 nearest neighbour"]["largest_difference_of_scores"] == 0 for of in figures.values())


def test_checkpoints_of_a_small_size():
    figures = checkpoints.overhead(sizes=((60, 4, 40),), rounds=1)
    (of,) = figures.values()
    assert of["saves"] >= 1 and 0 < of["share_of_saving"] < 1 and 0 < of["share_of_reading_features"] < 1


@pytest.mark.nightly
def test_the_monitor_beside_an_epoch_on_small_sizes():
    figures = monitor.beside_an_epoch(n=200, sizes=(50,), widths=(6, 4), rounds=1)
    (name, seconds) = next(iter(figures["seconds"].items()))
    assert math.isclose(figures["share_of_an_epoch"][name], seconds / figures["epoch_seconds"])
    assert len(figures["seconds"]) == 2 * 3 and all(value > 0 for value in figures["seconds"].values())


@pytest.mark.nightly
def test_ensembles_of_a_small_size():
    figures = ensembles.against_single_runs(members=2, n=60, widths=(8,), epochs=1, rounds=1)
    assert math.isclose(
        figures["ensemble_over_single_runs"], figures["ensemble_seconds"] / figures["single_runs_seconds"]
    )
    assert figures["ensemble_program_compile_seconds"] > 0 and figures["single_program_compile_seconds"] > 0


def test_records_say_when_where_and_what(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RESULTS", tmp_path / "results")
    path = measure.record("floor", measure.rounded({"seconds": 1.23456, "n": 3}))
    report = json.loads(path.read_text())
    assert report["figures"] == {"seconds": 1.235, "n": 3}
    assert report["benchmark"] == "floor" and report["date"] in path.name and report["machine"]["jax"]


def test_history_of_figures_with_two_dates(tmp_path):
    machine = {"processor": "one", "jax": "0.10.2"}
    for date, seconds, seen in (("2026-01-01", 2.0, "0.2 [0.1, 0.3]"), ("2026-01-02", 3.0, "0.1 [0.0, 0.2]")):
        figures = {"n": 10, "seconds": seconds, "study": {"claims": {"it falls": {"outcome": "holds", "seen": seen}}}}
        report = {"benchmark": "b", "date": date, "commit": "c", "machine": machine, "figures": figures}
        (tmp_path / f"{date}-cpu-b.json").write_text(json.dumps(report))
    (tmp_path / "2026-01-01-cpu-once.json").write_text(json.dumps({**report, "date": "2026-01-01"}))
    ((name, reports),) = history.dated(tmp_path).items()
    found = history.series(reports)
    assert name == "cpu-b" and {group: list(names) for group, names in found.items()} == {
        "b": ["seconds"],
        "study": ["it falls"],
    }
    assert found["study"]["it falls"]["2026-01-02"] == (0.1, 0.0, 0.2, True)
    figure = history.picture(name, reports)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["b", "study"]
    drawn = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert drawn == [1.0, 1.5]


@pytest.mark.nightly
def test_wrong_labels_are_found_by_margins(monkeypatch):
    monkeypatch.setattr(label_noise, "_EPOCHS", (1,))
    found = label_noise.areas(n=300, n_permutations=9)
    assert set(found) == {"pixels", "epoch 1"}
    assert found["pixels"]["margins on unseen rows, 30 nearest neighbours"] > 0.8


@pytest.mark.nightly
def test_plans_beside_tests_on_small_sizes():
    figures = plan.predicted_and_measured(B=20, rounds=1, sizes=((200, 8, 3),))
    assert len(figures["tests"]) == 4 and 0 < figures["smallest_ratio"] <= figures["largest_ratio"]


@pytest.mark.nightly
def test_outcomes_of_a_small_study():
    changes = {"sizes": (60, 100), "seeds": 2, "training": Training(epochs=1, keep_epochs=(0, 1))}
    (found,) = studies.outcomes(["sample-size"], tests=Tests(n_permutations=9), **changes).values()
    assert found["seconds"] > 0 and len(found["claims"]) == 3
    assert all(
        claim["outcome"] in ("holds", "opposite", "not shown") and claim["seen"] for claim in found["claims"].values()
    )


@pytest.mark.nightly
def test_similarities_beside_loops_on_small_sizes():
    figures = similarity.all_pairs(n_networks=4, n=61, width=8, n_classes=5, rounds=1)
    for name, found in figures["measures"].items():
        seconds = found["seconds"]
        assert {"jaxmem", "textbook", "prepared"} <= set(seconds) and min(seconds.values()) > 0
        assert math.isclose(found["textbook_over_jaxmem"], seconds["textbook"] / seconds["jaxmem"])
        for way in ("textbook", "prepared", *(("peer",) if name in similarity.PEERS else ())):
            assert found[f"difference_from_{way}"] < 1e-4, (name, way)
        assert ("textbook_at_most" in found) == (name in similarity.OF_PRODUCTS)
        if name in similarity.OF_PRODUCTS:
            least = seconds["products"] + seconds.get("singular", 0)
            assert math.isclose(found["textbook_at_most"], seconds["textbook"] / least)
            assert ("singular" in seconds) == (name != "predictivity")
