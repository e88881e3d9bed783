"""Learning and memorization over the epochs of one network: the study behind `jaxmem run`.

A network is trained and kept at some epochs. At each, the features of every hidden layer of the training rows, of their
perturbed copies and of independent test rows go through the memorization test, once per shallow classifier; every set
of copies shares its fits. Two baselines stand beside: epoch 0 is the untrained network, and layer "input" the raw
pixels.

Reconstructed from the abstract and summaries of Chaibub Neto (2018), arXiv:1802.07714: every setting here is ours.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from jaxmem.classifiers import Classifier, KNeighbors, Ridge
from jaxmem.data import gaussian_noise_inputs, load, parse, random_labels
from jaxmem.inputs import one_of
from jaxmem.memorization import memorization_tests
from jaxmem.studies.records import Record
from jaxmem.validation import Holdout, SharedStructure

if TYPE_CHECKING:
    import xarray

__all__ = ["CLASSIFIERS", "INPUT", "Config", "run"]

INPUT = "input"
CLASSIFIERS: Mapping[str, Classifier] = {"ridge": Ridge(alpha=1.0), "knn": KNeighbors(1)}


@dataclass(frozen=True)
class Config:
    """Everything that decides the numbers of a run.

    Args:
        input: a data set by name ("digits" is embedded), or "gaussian-noise": standard normal images of the digits'
            shape under the digits' labels.
        labels: "true", or "random": the training labels shuffled once, so that there is only memorizing to do.
        widths: units of each hidden layer of the MLP; as many layers as numbers.
        dropout: probability that a hidden unit is dropped in training.
        epochs: passes over the training rows.
        keep_epochs: the epochs to test; 0 is the untrained network. Those beyond `epochs` are left out.
        batch_size: training rows a step.
        learning_rate: step size of AdamW.
        weight_decay: decoupled decay of AdamW; 0 is Adam.
        perturbations: how the copies are made, as "name:amount"; amounts in units of the pixel range or in pixels.
        classifiers: the shallow classifiers, of "ridge" and "knn" (one neighbour).
        n_permutations: shuffles per test; the smallest p-value is 1 / (1 + this).
        seed: of everything random: the split, the weights, the copies, the permutations.
    """

    input: str = "digits"
    labels: Literal["true", "random"] = "true"
    widths: tuple[int, ...] = (256, 256, 64)
    dropout: float = 0.0
    epochs: int = 40
    keep_epochs: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40)
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    perturbations: tuple[str, ...] = ("gaussian-noise:0.1", "gaussian-noise:0.2", "gaussian-noise:0.4", "shift:2")
    classifiers: tuple[str, ...] = ("ridge", "knn")
    n_permutations: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked before anything is computed."""
        one_of(self.labels, ("true", "random"), "labels")
        for name in self.classifiers:
            one_of(name, CLASSIFIERS, "classifiers")
        for label in self.perturbations:
            parse(label)
        for field in ("keep_epochs", "perturbations", "classifiers", "widths"):
            values = getattr(self, field)
            if not values or (field != "widths" and len(set(values)) < len(values)):
                raise ValueError(f"{field} must name at least one, each once, but is {values!r}.")
        if self.n_permutations < 1:
            raise ValueError(f"n_permutations must be an integer >= 1, but is {self.n_permutations!r}.")
        object.__setattr__(self, "keep_epochs", tuple(sorted(e for e in self.keep_epochs if e <= self.epochs)))
        if self.keep_epochs[:1] != (0,):
            raise ValueError("keep_epochs must hold 0: the untrained network is the baseline of every other epoch.")


def run(config: Config = Config(), *, progress: bool = True) -> Record:
    """Train, perturb, and test every kept epoch, layer, perturbation and classifier.

    Args:
        config: all choices; the same configuration gives the same numbers.
        progress: show a bar on a terminal.

    Returns:
        The labelled numbers: see `jaxmem.studies.records`.

    Raises:
        ValueError: for a configuration that cannot be run, and for a training that blows up (with the epoch).
    """
    from flax import nnx
    from tqdm.auto import tqdm

    from jaxmem.nets import MLP, TrainConfig, features, train

    training = TrainConfig(
        config.epochs, config.batch_size, config.learning_rate, config.weight_decay, config.keep_epochs
    )
    key = jax.random.key(config.seed)
    data_key, copies_key, init_key, train_key, test_key = (jax.random.fold_in(key, i) for i in range(5))
    X, y, X_test, y_test = _data(config, data_key)
    copies = {
        label: np.asarray(parse(label)(jax.random.fold_in(copies_key, number), X))
        for number, label in enumerate(config.perturbations)
    }
    images = {"train": X, "test": X_test, **copies}
    n_classes = int(y.max()) + 1
    model = MLP(int(np.prod(X.shape[1:])), n_classes, config.widths, config.dropout, rngs=nnx.Rngs(init_key))

    n_tests = (1 + len(config.keep_epochs) * len(config.widths)) * len(config.classifiers)
    with tqdm(total=config.epochs, unit="epoch", desc="training", disable=not progress or None) as bar:
        trained = train(model, X, y, training, train_key, progress=lambda *_: bar.update())
    with tqdm(total=n_tests, unit="test", desc="testing", disable=not progress or None) as bar:

        def test(name: str, sets: Mapping[str, Any]) -> "xarray.Dataset":
            results = memorization_tests(
                CLASSIFIERS[name],
                sets["train"],
                y,
                {label: SharedStructure(sets[label]) for label in config.perturbations},
                test=Holdout(sets["test"], y_test),
                n_permutations=config.n_permutations,
                key=test_key,
                progress=False,
            )
            bar.update()
            return _join("perturbation", {label: result.to_dataset() for label, result in results.items()})

        def by_classifier(sets: Mapping[str, Any]) -> "xarray.Dataset":
            return _join("classifier", {name: test(name, sets) for name in config.classifiers})

        pixels = by_classifier({name: values.reshape(len(values), -1) for name, values in images.items()})
        by_epoch = {}
        for epoch in config.keep_epochs:
            network = trained.at(epoch)
            sets = {name: features(network, values) for name, values in images.items()}
            layers = {layer: by_classifier({name: sets[name][layer] for name in images}) for layer in sets["train"]}
            by_epoch[epoch] = _join("layer", {INPUT: pixels, **layers})
    data = _join("epoch", by_epoch)
    memorization = data.memorization
    data = data.assign(
        memorization_gain=memorization - memorization.sel(epoch=0, drop=True),
        memorization_gain_over_input=memorization - memorization.sel(layer=INPUT, drop=True),
        training_loss=("training_epoch", trained.history.loss),
        training_accuracy=("training_epoch", trained.history.accuracy),
    ).assign_coords(training_epoch=np.arange(1, config.epochs + 1))
    return Record("epochs", dataclasses.asdict(config), data)


def _data(config: Config, key: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training and test rows with the inputs and labels that the configuration asks for."""
    noise = config.input == "gaussian-noise"
    dataset = load("digits" if noise else config.input, seed=config.seed)
    X, y, X_test = dataset.X_train, dataset.y_train, dataset.X_test
    train_key, test_key, label_key = jax.random.split(key, 3)
    if noise:
        X, X_test = (np.asarray(gaussian_noise_inputs(k, x)) for k, x in ((train_key, X), (test_key, X_test)))
    if config.labels == "random":
        y = np.asarray(random_labels(label_key, y))
    return X, y, X_test, dataset.y_test


def _join(dimension: str, parts: "Mapping[Any, xarray.Dataset]") -> "xarray.Dataset":
    """Stack labelled results along a new dimension, the mapping's keys its coordinate."""
    import xarray

    index = xarray.Variable(dimension, list(parts))
    return xarray.concat(list(parts.values()), index, coords="minimal", compat="override", join="exact")
