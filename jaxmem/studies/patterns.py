"""Which patterns networks learn first, and which one they follow where two of them disagree.

Three groups of models. Images with labels that are true, random, or random for a share of the rows, and Gaussian noise
in the place of images: how fast are they learnt, and do examples pull in one direction? Patterns of graded simplicity
alone (`jaxmem.data.patterns`), each of which gives the label away: which is learnt when? And two patterns that agree in
training and disagree in test rows: which one is followed? Of every example it is kept when it is first learnt, how
often it is forgotten, and how deep in the network its prediction is settled (`jaxmem.dynamics`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmem.data import PATTERNS, Dataset, in_conflict, noise_canvas, stamped
from jaxmem.dynamics import epochs_to_accuracy, learning_dynamics, prediction_depth
from jaxmem.inputs import one_of
from jaxmem.studies.experiment import Data, Network, Setting, Training
from jaxmem.studies.networks import train_networks
from jaxmem.studies.rows import INPUTS, NETWORK, digest, draw_rows, key_for
from jaxmem.studies.store import Piece, Store, Work
from jaxmem.studies.study import Measure, Study
from jaxmem.studies.summary import Claim, all_below, is_positive, rank_correlation

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]

IMAGES, RANDOM, MATCHED, STANDARD, NOISE = "images", "random labels", "matched noise", "standard noise", "noise"
_INPUTS, _ALONE, _CONFLICT = "labels and inputs", "alone", "in conflict"


@dataclass(frozen=True)
class Config(Setting):
    """Learning order of patterns, of labels and of examples.

    Args:
        patterns: to be stamped onto noise and onto images, from the simplest on: "pixel", "patch", "prototype", "wave".
        share: of the rows whose labels are shuffled in the model of label noise.
        n_neighbors: of the probes behind prediction depth.
    """

    data: Data = Data(n_train=1_000)
    network: Network = Network(widths=(128, 128, 64))
    training: Training = Training(epochs=40, keep_epochs=(*range(11), *range(12, 41, 2)))
    patterns: tuple[str, ...] = ("pixel", "patch", "prototype", "wave")
    share: float = 0.5
    n_neighbors: int = 30

    def __post_init__(self) -> None:
        """Check the patterns, and that the rows are what the study starts from."""
        super().__post_init__()
        for name in self.patterns:
            one_of(name, PATTERNS, "each of patterns")
        if not self.patterns:
            raise ValueError("patterns must name at least one.")
        if not 0 < self.share < 1:
            raise ValueError(f"share is {self.share!r}; expected a share of the rows between 0 and 1.")


class _Given(NamedTuple):
    """What one network is trained and tested on; of a conflict, test rows have the class of the stamp as well."""

    X: np.ndarray
    y: np.ndarray
    y_true: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    y_stamp: np.ndarray | None = None


class _Model(NamedTuple):
    """What networks of one kind are trained on, by seed; of a conflict, its two patterns."""

    group: str
    rows: Callable[[int], _Given]
    canvas: str = ""
    stamp: str = ""


def _models(config: Config) -> Mapping[str, _Model]:
    def drawn(seed: int, **changes: Any) -> _Given:
        data = replace(config.data, **changes)
        setting = Setting(data, config.network, config.training, config.seeds, config.seed, config.data_dir)
        rows = draw_rows(setting, seed)
        return _Given(rows.X, rows.y, rows.y_true, rows.X_test, rows.y_test)

    images = cache(drawn)

    def key(name: str, seed: int) -> Any:
        return jax.random.fold_in(key_for(config, INPUTS, seed), 1 + [NOISE, *PATTERNS].index(name))

    def canvas(name: str, seed: int) -> Dataset:
        """Images, noise, or a pattern on noise, as a data set with the labels of the images."""
        X, y, _, X_test, y_test, _ = images(seed)
        classes = tuple(map(str, range(1 + max(y.max(), y_test.max()))))
        given = Dataset(name, X, y.astype(np.int32), X_test, y_test.astype(np.int32), classes)
        if name == IMAGES:
            return given
        noise = noise_canvas(key(NOISE, seed), given)
        return noise if name == NOISE else stamped(key(name, seed), noise, PATTERNS[name])

    def alone(name: str, seed: int) -> _Given:
        found = canvas(name, seed)
        return images(seed)._replace(X=found.X_train, X_test=found.X_test)

    def conflict(below: str, stamp: str, seed: int) -> _Given:
        by_canvas, by_stamp = in_conflict(key(stamp, seed), canvas(below, seed), PATTERNS[stamp])
        return images(seed)._replace(X=by_canvas.X_train, X_test=by_canvas.X_test, y_stamp=by_stamp.y_test)

    models = {
        IMAGES: _Model(_INPUTS, images),
        f"{config.share:g} {RANDOM}": _Model(_INPUTS, partial(drawn, random_labels=config.share)),
        RANDOM: _Model(_INPUTS, partial(drawn, random_labels=1.0)),
        MATCHED: _Model(_INPUTS, partial(drawn, inputs="matched-noise")),
        STANDARD: _Model(_INPUTS, partial(drawn, inputs="standard-noise")),
    }
    models |= {name: _Model(_ALONE, partial(alone, name)) for name in (*config.patterns, NOISE)}
    for below, stamp in [*((IMAGES, name) for name in config.patterns), *combinations(config.patterns, 2)]:
        models[f"{stamp} against {below}"] = _Model(_CONFLICT, partial(conflict, below, stamp), below, stamp)
    return models


def _key(config: Config, model: str) -> Any:
    return "patterns", model, config, digest(config)


def _pieces(config: Config, store: Store, progress: bool) -> Iterator[Work]:
    for name, model in _models(config).items():
        yield Work(_key(config, name), partial(_of_model, config, model), name)


def _label(config: Config, store: Store) -> "xarray.Dataset":
    import xarray

    models = _models(config)
    pieces = {name: store[_key(config, name)] for name in models}
    dims = {
        "training_accuracy": ("training_epoch",),
        **dict.fromkeys(_BY_EPOCH, ("epoch",)),
        **dict.fromkeys(_BY_EXAMPLE, ("example",)),
    }
    variables = {
        name: (("model", "seed", *dims.get(name, ())), np.stack([piece[name] for piece in pieces.values()]))
        for name in next(iter(pieces.values()))
    }
    coordinates = {
        "model": list(models),
        "group": ("model", [model.group for model in models.values()]),
        "canvas": ("model", [model.canvas for model in models.values()]),
        "stamp": ("model", [model.stamp for model in models.values()]),
        "seed": range(config.seeds),
        "epoch": list(config.training.keep_epochs),
        "training_epoch": np.arange(1, config.training.epochs + 1),
    }
    return xarray.Dataset(variables, coordinates)


_BY_EPOCH = (
    "train_accuracy",
    "test_accuracy",
    "follows_canvas",
    "follows_stamp",
    "wrong_labels_as_given",
    "wrong_labels_as_true",
)
_BY_EXAMPLE = ("wrong_label", "first_learned", "forgetting_events", "final_margin", "area", "prediction_depth")


def _of_model(config: Config, model: _Model) -> Piece:
    """Train the networks of a model, and follow their examples."""
    from jaxmem.nets import ensemble_logits, features, gradient_coherence

    given = [model.rows(seed) for seed in range(config.seeds)]
    X, y, y_true, X_test, y_test = (
        np.stack([getattr(each, name) for each in given]) for name in ("X", "y", "y_true", "X_test", "y_test")
    )
    keys = jnp.stack([key_for(config, NETWORK, seed) for seed in range(config.seeds)])
    trained = train_networks(config, X, y, keys)
    of_rows, kept = ensemble_logits(trained, X), config.training.keep_epochs
    # An untrained network has learnt nothing, whatever it gets right by chance.
    found, predicted = learning_dynamics(of_rows[:, 1:], y, kept[1:]), of_rows.argmax(axis=-1)
    tested = ensemble_logits(trained, X_test).argmax(axis=-1)

    def share(right: np.ndarray) -> np.ndarray:
        return right.mean(axis=-1)

    piece = {
        "training_accuracy": trained.history.accuracy,
        # Where 99% did not come, the epoch after the last: it takes at least as many.
        "epochs_to_99": np.minimum(epochs_to_accuracy(trained.history.accuracy), config.training.epochs + 1),
        "train_accuracy": share(predicted == y[:, None]),
        "wrong_label": y != y_true,
        "first_learned": found.first_learned,
        "mean_first_learned": share(np.minimum(found.first_learned, kept[-1] + 1)),
        "forgetting_events": found.forgetting_events,
        "final_margin": found.margin[:, -1],
        "area": found.area,
    }
    by_canvas, missing = share(tested == y_test[:, None]), np.full((config.seeds, len(kept)), np.nan)
    stamps = [each.y_stamp for each in given if each.y_stamp is not None]
    if stamps:
        by_stamp = share(tested == np.stack(stamps)[:, None])
        piece |= {"test_accuracy": missing, "follows_canvas": by_canvas, "follows_stamp": by_stamp}
    else:
        piece |= {"test_accuracy": by_canvas, "follows_canvas": missing, "follows_stamp": missing}
    wrong = (y != y_true)[:, None]
    for name, labels in (("given", y), ("true", y_true)):
        right = (predicted == labels[:, None]) & wrong
        with np.errstate(invalid="ignore"):  # NaN where no label is wrong.
            piece[f"wrong_labels_as_{name}"] = right.sum(axis=-1) / wrong.sum(axis=-1)
    piece["prediction_depth"] = np.stack(
        [
            prediction_depth(
                {"input": X[seed].reshape(len(X[seed]), -1), **features(network, X[seed])},
                y[seed],
                predicted[seed, -1],
                n_neighbors=config.n_neighbors,
            )
            for seed, network in enumerate(trained.at(kept[-1]))
        ]
    )
    # What the claims ask for: gradients of every example by every parameter take their time.
    piece["coherence"] = (
        np.array([gradient_coherence(network, *own) for network, *own in zip(trained.at(kept[1]), X, y, strict=True)])
        if model.group == _INPUTS
        else missing[:, 0]
    )
    return {name: np.asarray(values, np.float32) for name, values in piece.items()}


def _claims(data: "xarray.Dataset") -> list[Claim]:
    epochs = data.epochs_to_99
    learned = data.first_learned.clip(max=float(data.epoch.max()) + 1)
    names = list(data.model.values)
    noisy = names[names.index(IMAGES) + 1]

    def later(slow: str, fast: str) -> Claim:
        text = f"{slow}: more epochs to 99% of the training rows than {fast}"
        return is_positive(text, epochs.sel(model=slow) - epochs.sel(model=fast))

    claims = [
        later(RANDOM, IMAGES),
        later(RANDOM, MATCHED),
        later(MATCHED, STANDARD),
        later(IMAGES, STANDARD),
        is_positive(
            f"gradients of examples point more in one direction after the first kept epoch for {IMAGES} than for "
            f"{RANDOM}",
            data.coherence.sel(model=IMAGES) - data.coherence.sel(model=RANDOM),
        ),
    ]
    alone = [name for name in names if data.group.sel(model=name) == _ALONE]
    order = [*alone[:-1], IMAGES, alone[-1]]
    # A pattern's rows are alike, images are not: the mean over rows does not wait for the last of them.
    when = data.mean_first_learned
    claims += [
        is_positive(
            f"{harder}: rows are first learnt later than those of {simpler}",
            when.sel(model=harder) - when.sel(model=simpler),
        )
        for simpler, harder in pairwise(order)
    ]
    for name in names:
        own = data.sel(model=name)
        if own.group != _CONFLICT:
            continue
        pair = {"follows_canvas": str(own.canvas.values), "follows_stamp": str(own.stamp.values)}
        sooner, other = sorted(pair, key=lambda follows: float(when.sel(model=pair[follows]).mean()))
        text = f"{name}: networks follow the one whose rows they learn sooner alone, {pair[sooner]}"
        claims.append(is_positive(text, (own[sooner] - own[other]).isel(epoch=-1)))
    own = data.sel(model=noisy)
    gap = own.wrong_labels_as_true - own.wrong_labels_as_given
    wrong = own.wrong_label == 1
    first = learned.sel(model=noisy)
    early = min(2, data.sizes["epoch"] - 1)
    claims += [
        is_positive(
            f"{noisy}: rows with wrong labels are predicted as their true class more often than as labelled at epoch "
            f"{data.epoch.values[early]}",
            gap.isel(epoch=early),
        ),
        all_below(
            f"{noisy}: and in the end as labelled (share of them that is not, of every network)",
            1 - own.wrong_labels_as_given.isel(epoch=-1),
            0.1,
        ),
        is_positive(
            f"{noisy}: rows with wrong labels are learnt later",
            first.where(wrong).mean("example") - first.where(~wrong).mean("example"),
        ),
        is_positive(
            f"{IMAGES}: rows whose predictions are settled in deeper layers are learnt later (rank correlation)",
            rank_correlation(data.prediction_depth.sel(model=IMAGES), learned.sel(model=IMAGES)),
        ),
    ]
    return claims


STUDY = Study(
    "patterns",
    "Which patterns do networks learn first, and which do they follow where two disagree?",
    Config,
    Measure(_pieces, _label),
    "model",
    _claims,
    figures=("learning-order", "conflicts"),
    varies={"data.inputs": "patterns", "data.random_labels": "share", "data.confused_labels": "share"},
)
