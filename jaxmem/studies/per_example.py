"""Which rows are memorized, by a dozen measures: do they agree, and do they find the wrong labels?

Memorization, consistency and influence on test rows come from networks that were each trained on a random subset of the
rows (`jaxmem.subsets`) and belong to rows and labels. What influence there is by chance is seen when the networks'
predictions are exchanged among their subsets. The other scores belong to single networks trained on all rows: how the
row was learnt (`jaxmem.dynamics`), its margins, gradient and curvature, and how often the permutation tests recover a
shuffled label of its (`example_scores`). Held-out margins are those of a ridge that has not seen the row; the network
has. Some of the labels are random, so that there is something to memorize.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmem.classifiers import Ridge
from jaxmem.dynamics import learning_dynamics, prediction_depth
from jaxmem.examples import example_margins
from jaxmem.inference import of_means
from jaxmem.memorization import memorization_test
from jaxmem.studies.experiment import CLASSIFIERS, Data, Experiment, Network, Setting, Tests, Training
from jaxmem.studies.networks import train_networks
from jaxmem.studies.rows import INPUTS, NETWORK, PERMUTATIONS, Rows, digest, draw_rows, key_for
from jaxmem.studies.store import Piece, Store, Work
from jaxmem.studies.study import Measure, Study
from jaxmem.studies.summary import Claim, is_positive, rank_correlation
from jaxmem.subsets import (
    check_subsets,
    consistency_scores,
    influence_scores,
    mean_square_influence,
    memorization_scores,
    random_subsets,
)
from jaxmem.validation import KFold, SharedStructure

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]

MEMORIZATION, CONSISTENCY, INFLUENCE = "memorization", "consistency", "influence"
_DECIDES = 0.5  # Influence of one training row on one test row.
_EXCHANGES, _EXCHANGED_TABLES = 999, 19


@dataclass(frozen=True)
class Config(Experiment):
    """Measures of how much single rows are memorized.

    Args:
        n_members: networks that are trained on subsets, beside those of all seeds, which are trained on all rows.
        share: of the rows in every subset.
        n_neighbors: of the probes behind prediction depth.
        n_probes: random directions for the curvature of the loss around every row.
    """

    data: Data = Data(n_train=1_000, random_labels=0.1)
    network: Network = Network(widths=(128, 128, 64))
    training: Training = Training(epochs=40, keep_epochs=(*range(11), *range(12, 41, 2)))
    tests: Tests = Tests(perturbations=("gaussian-noise:0.2",))
    n_members: int = 40
    share: float = 0.7
    n_neighbors: int = 30
    n_probes: int = 5

    def __post_init__(self) -> None:
        """Check that there is something to memorize, and that the tests are those that the study makes."""
        super().__post_init__()
        if not self.data.random_labels and not self.data.confused_labels:
            raise ValueError("this study is about rows with wrong labels: give random_labels or confused_labels.")
        if len(self.tests.perturbations) > 1 or self.tests.layers != ("last",):
            raise ValueError("this study tests the last layer on copies of one kind: give one perturbation only.")


def _key(config: Config, what: str) -> Any:
    return "per-example", config, digest(config), what


def _pieces(config: Config, store: Store, progress: bool) -> Iterator[Work]:
    # The same rows for all networks: the first seed's.
    rows = draw_rows(config, 0)
    yield Work(_key(config, "subsets"), partial(_of_subsets, config, rows), "networks on subsets")
    yield Work(_key(config, "whole"), partial(_of_whole, config, rows), "networks on all rows")


def _label(config: Config, store: Store) -> "xarray.Dataset":
    import xarray

    rows = draw_rows(config, 0)
    subsets, whole = (store[_key(config, what)] for what in ("subsets", "whole"))
    found = {
        MEMORIZATION: memorization_scores(subsets["included"], subsets["correct"]),
        CONSISTENCY: consistency_scores(subsets["included"], subsets["correct"]),
    }
    of_subsets = {name: scores.value for name, scores in found.items()}
    of_subsets[INFLUENCE] = mean_square_influence(subsets["included"], subsets["correct_test"])
    values = {name: np.broadcast_to(scores, (config.seeds, len(rows.y))) for name, scores in of_subsets.items()}
    values |= whole
    data = xarray.Dataset(
        {
            "value": (("score", "seed", "example"), np.stack(list(values.values())).astype(np.float32)),
            "standard_error": (("subset_score", "example"), [scores.standard_error for scores in found.values()]),
            "wrong_label": ("example", rows.y != rows.y_true),
            "included": (("member", "example"), subsets["included"]),
            "correct": (("member", "example"), subsets["correct"]),
            "correct_test": (("member", "test_example"), subsets["correct_test"]),
            **_influence(config, subsets, of_subsets[MEMORIZATION]),
        },
        {"score": list(values), "seed": range(config.seeds), "subset_score": list(found)},
    )
    others = data.value.rename(score="other_score")
    by_wrong = data.wrong_label.values
    of_tests = {
        f"correlation_with_{name.replace(', ', '_').replace(' ', '_')}": data.value.sel(score=name, drop=True)
        for name in values
        if name.startswith("example score")
    }
    data = data.assign({name: rank_correlation(data.value, scores) for name, scores in of_tests.items()})
    return data.assign(
        rank_correlation=rank_correlation(data.value, others).transpose("score", "other_score", "seed"),
        correlation_with_memorization=rank_correlation(data.value, data.value.sel(score=MEMORIZATION, drop=True)),
        correlation_with_consistency=rank_correlation(data.value, data.value.sel(score=CONSISTENCY, drop=True)),
        finds_wrong_labels=(("score", "seed"), _areas(data.value.values, by_wrong)),
    )


def _of_subsets(config: Config, rows: Rows) -> Piece:
    """Train networks on random subsets, and ask each of them about every row."""
    from jaxmem.nets import ensemble_logits

    subsets_key = jax.random.fold_in(key_for(config, INPUTS), 1)
    included = random_subsets(subsets_key, len(rows.y), config.n_members, config.share)
    check_subsets(included)
    X, y = (np.stack([values[there] for there in included]) for values in (rows.X, rows.y))
    # Other networks than those on all rows.
    keys = jnp.stack([key_for(config, NETWORK, config.seeds + member) for member in range(config.n_members)])
    trained = train_networks(_at_the_end(config), X, y, keys)
    predicted, tested = (ensemble_logits(trained, X)[:, -1].argmax(axis=-1) for X in (rows.X, rows.X_test))
    return {"included": included, "correct": predicted == rows.y, "correct_test": tested == rows.y_test}


def _influence(config: Config, subsets: Piece, memorization: np.ndarray) -> dict[str, tuple[str, np.ndarray]]:
    """Whether memorized rows have influence, and how many test rows one row decides: as it is, and then by chance."""
    import xarray

    included, correct = subsets["included"], subsets["correct_test"]
    key, n = jax.random.fold_in(key_for(config, INPUTS), 3), len(included)
    exchanges = jax.vmap(lambda b: jax.random.permutation(jax.random.fold_in(key, b), n))(jnp.arange(_EXCHANGES))
    orders = [np.arange(n), *np.asarray(exchanges)]
    sizes = np.stack([mean_square_influence(included, correct[order]) for order in orders])
    tables = [influence_scores(included, correct[order]).value for order in orders[: 1 + _EXCHANGED_TABLES]]
    correlation = rank_correlation(
        xarray.DataArray(sizes, dims=("exchange", "example")), xarray.DataArray(memorization, dims="example")
    )
    return {
        "influence_correlation": ("exchange", correlation.values),
        "share_decided": ("exchanged_table", np.array([(one.max(axis=0) > _DECIDES).mean() for one in tables])),
    }


def _at_the_end(config: Config) -> Setting:
    """The same training, of which nothing is kept but its ends."""
    training = replace(config.training, keep_epochs=(0, config.training.keep_epochs[-1]))
    return Setting(config.data, config.network, training, config.seeds, config.seed, config.data_dir)


def _of_whole(config: Config, rows: Rows) -> Piece:
    """Train networks on all rows, and measure every row by each of them; (seeds, n)."""
    from jaxmem.nets import ensemble_logits, features, gradient_norms, input_curvature

    kept = config.training.keep_epochs
    keys = jnp.stack([key_for(config, NETWORK, seed) for seed in range(config.seeds)])
    trained = train_networks(config, rows.X, rows.y, keys)
    logits = ensemble_logits(trained, rows.X)
    # An untrained network has learnt nothing, whatever it gets right by chance.
    learnt, predicted = learning_dynamics(logits[:, 1:], rows.y, kept[1:]), logits[:, -1].argmax(axis=-1)
    last = trained.at(kept[-1])
    piece = {
        "first learned": learnt.first_learned,
        "forgetting events": learnt.forgetting_events,
        "area": learnt.area,
        "margin": learnt.margin[:, -1],
        "loss sensitivity": gradient_norms(last, rows.X, rows.y),
    }
    # Averaged over the course of training, as Garg et al. do; five epochs of it, the last among them.
    course = [trained.at(epoch) for epoch in kept[:0:-1][:: max(1, (len(kept) - 1) // 5)][:5]]
    curvature_key = jax.random.fold_in(key_for(config, INPUTS), 2)
    curvatures = [input_curvature(each, rows.X, rows.y, curvature_key, n_probes=config.n_probes) for each in course]
    piece["curvature"] = np.mean(curvatures, axis=0)
    pixels = rows.X.reshape(len(rows.X), -1)
    ((_, copies),) = rows.copies.items()
    for seed, network in enumerate(last):
        layers = {"input": pixels, **features(network, rows.X)}
        *_, X = layers.values()
        *_, X_copies = features(network, copies).values()
        own = {
            "prediction depth": prediction_depth(layers, rows.y, predicted[seed], n_neighbors=config.n_neighbors),
            "held-out margin": example_margins(Ridge(), X, rows.y, validation=KFold(5)),
        }
        for name in config.tests.classifiers:
            tested = memorization_test(
                CLASSIFIERS[name],
                X,
                rows.y,
                SharedStructure(X_copies),
                n_permutations=config.tests.n_permutations,
                key=key_for(config, PERMUTATIONS),
                progress=False,
            )
            own[f"example score, {name}"] = tested.example_scores
        for name, values in own.items():
            piece.setdefault(name, np.empty((config.seeds, len(rows.y))))[seed] = values
    return piece


def _areas(values: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of finding wrong labels by a score: how often a wrong row has more of it than another.

    References: Mann & Whitney (1947). Half counts where both have the same.
    """
    from scipy import stats

    ranks, n_wrong = stats.rankdata(values, axis=-1), wrong.sum()
    return (ranks[..., wrong].mean(axis=-1) - (n_wrong + 1) / 2) / (~wrong).sum()


def _claims(data: "xarray.Dataset") -> list[Claim]:
    included, correct, wrong = (data[name].values.astype(bool) for name in ("included", "correct", "wrong_label"))
    # What each network adds to the four shares that the difference is made of; networks are independent.
    sums = np.stack(
        [
            (table & rows[None]).sum(axis=1)
            for rows in (wrong, ~wrong)
            for there in (included, ~included)
            for table in (correct & there, there)
        ],
        axis=1,
    ).astype(float)
    found = of_means(lambda a, b, c, d, e, f, g, h: (a / b - c / d) - (e / f - g / h), sums)
    claims = [
        Claim(
            "rows with wrong labels are memorized more than the others (mean memorization, over networks)",
            found.low > 0,
            f"{found:.3f}",
        )
    ]
    correlation, *_ = correlations = data.influence_correlation.values.tolist()
    pvalue = float((np.abs(correlations) >= abs(correlation)).mean())
    share, *by_chance = data.share_decided.values.tolist()
    claims += [
        Claim(
            "rows that are memorized have influence on test rows (rank correlation; p-value by exchanging networks)",
            correlation > 0 and pvalue <= 0.05,
            f"{correlation:.3f}",
            correlation < 0 and pvalue <= 0.05,
            pvalue,
        ),
        Claim(
            f"test rows that one training row decides (influence beyond {_DECIDES}): a larger share than by chance",
            share > max(by_chance),
            f"{share:.3f}, and {np.mean(by_chance):.3f} with networks exchanged",
        ),
    ]
    correlations = data.correlation_with_memorization
    # What each measure would say if it measured memorization.
    signs = {
        "first learned": 1,
        "forgetting events": 1,
        "area": -1,
        "margin": -1,
        "loss sensitivity": 1,
        "curvature": 1,
        "prediction depth": 1,
        "held-out margin": -1,
    }
    signs |= {name: 1 for name in data.score.values if name.startswith("example score")}
    for name, sign in signs.items():
        direction = "more" if sign > 0 else "less"
        claims.append(
            is_positive(
                f"{name}: {direction} of it where rows are memorized ({'' if sign > 0 else 'minus '}rank correlation)",
                sign * correlations.sel(score=name),
            )
        )
    return claims


STUDY = Study(
    "per-example",
    "Which rows are memorized, and do measures of it agree?",
    Config,
    Measure(_pieces, _label),
    "score",
    _claims,
    figures=("scores",),
)
