"""Studies by shares: every piece once, the whole study's numbers bit for bit, nothing mixed up."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import xarray

from jaxmem.studies import STUDIES, Data, Network, Tests, Training, conduct, regularization, run
from jaxmem.studies.merging import merge, run_shard
from jaxmem.studies.shards import Shard, complete
from jaxmem.studies.store import Store, Work

SMALL = regularization.Config(
    data=Data(n_train=100, n_validation=100),
    network=Network(widths=(8,)),
    training=Training(epochs=1, keep_epochs=(0, 1)),
    tests=Tests(perturbations=("shift:1",), classifiers=("ridge",), n_permutations=9),
    seeds=2,
    dropouts=(0.5,),
    weight_decays=(),
    augmentations=(),
)
STUDY = regularization.STUDY


def shards_of(study, config, of, folder):
    folders = [folder / f"{number}" for number in range(1, of + 1)]
    for number, shard in enumerate(folders, start=1):
        run_shard(study, config, Shard(number, of), shard, progress=False)
    return folders


@pytest.fixture(scope="module")
def whole():
    return run(STUDY, SMALL, progress=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three shards, and how often features were tested on the way."""
    with pytest.MonkeyPatch.context() as patch:
        calls, original = [], conduct._tested
        patch.setattr(conduct, "_tested", lambda *args: calls.append(1) or original(*args))
        folders = shards_of(STUDY, SMALL, 3, tmp_path_factory.mktemp("shards"))
    # Raw inputs and untrained networks of two seeds, which both models have in common, and trained networks of each.
    assert len(calls) == 2 + 2 + 2 * 2
    return folders


def test_merged_numbers_are_those_of_the_whole_study(whole, folders):
    for order in (folders, folders[::-1]):
        merged = merge(order)
        xarray.testing.assert_identical(merged.data, whole.data)
        assert (merged.study, merged.config, merged.versions) == (whole.study, whole.config, whole.versions)
    assert all(path.name == "about.json" or path.suffix == ".npz" for folder in folders for path in folder.iterdir())


def test_overlaps_and_gaps_are_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="shards 1/3, 2/3, 2/3 overlap"):
        merge([folders[0], folders[1], folders[1]])
    with pytest.raises(ValueError, match="gap: shards 1/3, 3/3 are missing"):
        merge(folders[1:2])
    with pytest.raises(ValueError, match="nothing to merge"):
        merge([])
    other = tmp_path / "other"
    other.mkdir()
    about = json.loads((folders[0] / "about.json").read_text())
    (other / "about.json").write_text(json.dumps(about | {"shard": "1/2"}))
    with pytest.raises(ValueError, match="shards 1/2, 2/3, 3/3 overlap"):
        merge([other, *folders[1:]])
    (other / "about.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="has not been finished"):
        merge([other, *folders[1:]])


def test_what_is_not_of_one_study_is_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="no shard of a study"):
        merge([folders[0], tmp_path])
    about = json.loads((folders[0] / "about.json").read_text())
    for name, value in {"config": about["config"] | {"seed": 1}, "data": "0", "versions": {}, "study": "x"}.items():
        (tmp_path / "about.json").write_text(json.dumps(about | {name: value}))
        with pytest.raises(ValueError, match=f"differs from .* in {name}: they are not of one study"):
            merge([folders[1], folders[2], tmp_path])


def test_another_data_set_than_that_of_the_shards_is_refused(folders, tmp_path):
    for number, folder in enumerate(folders, start=1):
        shutil.copytree(folder, tmp_path / f"{number}")
        about = json.loads((folder / "about.json").read_text())
        (tmp_path / f"{number}" / "about.json").write_text(json.dumps(about | {"data": "of elsewhere"}))
    with pytest.raises(ValueError, match="the data set 'digits' is another one here than where the shards were made"):
        merge(sorted(tmp_path.iterdir()))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2", ""])
def test_a_shard_is_a_number_of_how_many(text):
    with pytest.raises(ValueError, match="1/4 to 4/4"):
        Shard.parse(text)


@pytest.mark.parametrize(("n", "of"), [(10, 1), (10, 3), (10, 10), (3, 5)])
def test_every_piece_belongs_to_one_shard(n, of):
    # Pieces come twice: where two experiments share one, it belongs to the first.
    works = [Work(key, lambda key=key: {"key": np.array(key)}) for key in [*range(n), *range(n)]]
    keys = [Shard(number, of).keys(works) for number in range(1, of + 1)]
    assert [key for shard in keys for key in shard] == list(range(n))
    assert max(map(len, keys)) - min(map(len, keys)) <= 1
    store = Store()
    complete(lambda: works, store, shard=Shard(1, of), progress=False)
    assert [key for key in range(n) if key in store] == keys[0]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["retraining", "bridge", "dissect", "patterns", "per-example"])
def test_studies_of_other_pieces_are_merged_as_well(name, tmp_path):
    config = STUDIES[name].config()
    common = {"data": Data(n_train=100), "tests": SMALL.tests, "seeds": 3, "training": SMALL.training}
    own = {
        "retraining": {"n_retrained": 19, "seeds": 1},
        "bridge": {"shares": (1.0,), "dropouts": (0.5,), "sizes": (8,)},
        "dissect": {"n_rows": 60, "measures": ("cka", "agreement"), "shares": ()},
        "patterns": {"patterns": ("pixel",), "n_neighbors": 5, "seeds": 2},
        "per-example": {"data": Data(n_train=100, random_labels=0.2), "n_members": 20, "n_neighbors": 5, "share": 0.5},
    }
    changes = common | own[name]
    if name != "bridge":
        changes["network"] = replace(config.network, widths=(8,))
    config = replace(config, **{option: value for option, value in changes.items() if hasattr(config, option)})
    whole = run(STUDIES[name], config, progress=False)
    xarray.testing.assert_identical(merge(shards_of(STUDIES[name], config, 2, tmp_path)).data, whole.data)
