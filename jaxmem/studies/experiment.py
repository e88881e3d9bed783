"""What an experiment is: rows, networks that differ by chance alone, their training, and the tests of their features.

A study compares experiments. Each of the four parts is a value by itself, so that what two experiments have in common,
the raw inputs' baseline or the untrained networks, is seen to be the same and computed once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jaxmem.classifiers import LDA, Classifier, GaussianNB, KNeighbors, LinearSVM, NearestCentroid, Ridge, Softmax
from jaxmem.data import parse
from jaxmem.inputs import one_of

__all__ = ["CLASSIFIERS", "INPUTS", "LAST", "Data", "Experiment", "Network", "Setting", "Tests", "Training"]

CLASSIFIERS: Mapping[str, Classifier] = {
    "ridge": Ridge(alpha=1.0),
    "lda": LDA(shrinkage=0.1),
    "centroid": NearestCentroid(),
    "naive-bayes": GaussianNB(var_smoothing=1e-3),
    "knn": KNeighbors(1),
    "knn10": KNeighbors(10),
    "softmax": Softmax(),
    "svm": LinearSVM(),
}
INPUTS = ("images", "standard-noise", "matched-noise", "shuffled-pixels", "shuffled-each")
LAST = "last"


def _each_once(config: Any, field: str) -> None:
    values = getattr(config, field)
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{field} must name at least one, each once, but is {values!r}.")


def _as_named(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Data:
    """The rows that networks are trained and tested on.

    Args:
        dataset: a data set by name ("digits" is embedded), or the path of a file; see `jaxmem.data.load`.
        inputs: "images"; "standard-noise" or "matched-noise", Gaussian, with the moments of every pixel or without;
            one shuffle for all images ("shuffled-pixels"), or one for each ("shuffled-each").
        random_labels: share of the training rows whose labels are shuffled among them, anew for every seed.
        confused_labels: probability that a training row's label is mistaken for that of the next class.
        n_train: training rows, drawn anew for every seed with the classes' proportions; None: all there are.
        n_validation: test rows that are set apart for choosing when to stop; the others remain the test rows.

    Example:
        >>> from jaxmem.studies import Data
        >>> Data(random_labels=0.2).dataset
        'digits'
    """

    dataset: str = "digits"
    inputs: Literal["images", "standard-noise", "matched-noise", "shuffled-pixels", "shuffled-each"] = "images"
    random_labels: float = 0.0
    confused_labels: float = 0.0
    n_train: int | None = None
    n_validation: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read."""
        one_of(self.inputs, INPUTS, "inputs")
        if self.random_labels and self.confused_labels:
            raise ValueError("random_labels and confused_labels are both given: ask for one kind of wrong labels.")
        for name in ("random_labels", "confused_labels"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, but is {getattr(self, name)!r}.")

    @property
    def differs_by_seed(self) -> bool:
        """Whether training rows or their labels are drawn anew for every seed."""
        shuffled = self.random_labels or self.confused_labels or self.n_train is not None
        return bool(shuffled) or self.inputs != "images"


@dataclass(frozen=True)
class Network:
    """The structure of a network; see `jaxmem.nets.network`.

    Args:
        architecture: "mlp", "cnn", "resnet" or "vit".
        widths: units of each hidden layer, channels of each stage, or width of each block; None: as the architecture
            has them.
        dropout: probability that a hidden unit is dropped in training.
        activation: "relu", "tanh", "gelu", ...
        batch_norm: normalize the activations of each minibatch.

    Example:
        >>> from jaxmem.studies import Network
        >>> Network(architecture="cnn", dropout=0.25).widths is None
        True
    """

    architecture: Literal["mlp", "cnn", "resnet", "vit"] = "mlp"
    widths: tuple[int, ...] | None = None
    dropout: float = 0.0
    activation: str = "relu"
    batch_norm: bool = False


@dataclass(frozen=True)
class Training:
    """How networks are trained, and when they are looked at.

    Args:
        epochs: passes over the training rows.
        keep_epochs: the epochs to test; 0 is the untrained network. Those beyond the last mean the last one.
        batch_size: training rows a step.
        learning_rate: step size of AdamW.
        weight_decay: decoupled decay of AdamW; 0 is Adam.
        augment: a perturbation of every minibatch, "shift:2" say; None: training rows as they are.

    Example:
        >>> from jaxmem.studies import Training
        >>> Training(epochs=10, keep_epochs=(0, 10), augment="shift:2").learning_rate
        0.001
    """

    epochs: int = 40
    keep_epochs: tuple[int, ...] = (0, 1, 2, 5, 10, 20, 40)
    batch_size: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    augment: str | None = None

    def __post_init__(self) -> None:
        """End where training ends, and check that the baseline is among the epochs to test."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be an integer >= 1, but is {getattr(self, name)!r}.")
        _each_once(self, "keep_epochs")
        object.__setattr__(self, "keep_epochs", tuple(sorted({min(e, self.epochs) for e in self.keep_epochs})))
        if self.keep_epochs[:1] != (0,):
            raise ValueError("keep_epochs must hold 0: the untrained network is the baseline of every other epoch.")
        if len(self.keep_epochs) < 2:
            raise ValueError(f"keep_epochs must hold an epoch from 1 to epochs={self.epochs} beside 0.")
        if self.augment is not None:
            parse(self.augment)


@dataclass(frozen=True)
class Tests:
    """What the features are tested with.

    Args:
        layers: hidden layers by name, "last" for the last one; no name: all of them.
        pool: average activations over places (pixels, tokens) instead of flattening them.
        perturbations: how the copies are made, as "name:amount"; amounts in units of the pixel range or in pixels.
        classifiers: the shallow classifiers: "ridge", "lda", "centroid", "naive-bayes", "knn" (one neighbour), "knn10"
            (ten), "softmax", "svm".
        n_permutations: shuffles per test; the smallest p-value of learning is 1 / (1 + this).

    Example:
        >>> from jaxmem.studies import Tests
        >>> Tests(classifiers=("ridge",), perturbations=("rotation:10",)).n_permutations
        200
    """

    layers: tuple[str, ...] = (LAST,)
    pool: bool = False
    perturbations: tuple[str, ...] = ("gaussian-noise:0.2", "shift:2")
    classifiers: tuple[str, ...] = ("ridge", "knn")
    n_permutations: int = 200

    __test__ = False  # Tell pytest that this is no test of its own.

    def __post_init__(self) -> None:
        """Check what can be checked before anything is computed."""
        _each_once(self, "perturbations")
        _each_once(self, "classifiers")
        for name in self.classifiers:
            one_of(name, CLASSIFIERS, "classifiers")
        for label in self.perturbations:
            parse(label)
        if self.n_permutations < 1:
            raise ValueError(f"n_permutations must be an integer >= 1, but is {self.n_permutations!r}.")


@dataclass(frozen=True)
class Setting:
    """Networks that differ by chance alone, and what they are trained on.

    Args:
        data: the rows.
        network: the structure of the networks.
        training: how they are trained.
        seeds: networks, each with weights and minibatches of its own, and with rows, labels and copies of its own where
            these are random; intervals are over these.
        seed: of everything random, and of the split in training and test rows.
        data_dir: where data sets lie; None: $JAXMEM_DATA_DIR, or else ~/.cache/jaxmem.

    Example:
        >>> from jaxmem.studies import Data, Setting
        >>> Setting(data=Data(n_train=500), seeds=2).training.epochs
        40
    """

    data: Data = Data()
    network: Network = Network()
    training: Training = Training()
    seeds: int = 5
    seed: int = 0
    data_dir: str | None = None

    def __post_init__(self) -> None:
        """Check the number of networks, that the seed is one, and that nothing is listed twice."""
        if self.seeds < 1:
            raise ValueError(f"seeds must be an integer >= 1, but is {self.seeds!r}.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be an integer from 0 to 2**32 - 1, but is {self.seed!r}.")
        for name, values in vars(self).items():
            # By what models are called: a study would take those of one name for one.
            if isinstance(values, tuple) and len({_as_named(value) for value in values}) < len(values):
                raise ValueError(f"{name} must list each value once, but is {values!r}.")


@dataclass(frozen=True)
class Experiment(Setting):
    """Everything that decides the numbers of an experiment.

    Args:
        tests: what the features of the networks are tested with; all go through the same permutations.

    Example:
        >>> from jaxmem.studies import Experiment, Tests
        >>> Experiment(tests=Tests(n_permutations=999)).seeds
        5
    """

    tests: Tests = Tests()
