"""Learning and memorization watched while a network trains: the indices of `memorization_test`, in a few milliseconds.

A monitor keeps what does not change from one epoch to the next: the rows that it looks at, and their labels under every
permutation, paired and broken. The rest, from preparing the features to counting the labels that are recovered, is one
compiled function for all epochs, and for all layers of the same width. What takes hundreds of permutations is left out:
the matching of copies with other rows, and the scores of single rows.

Twenty permutations know the memorization index of 1,000 digits with a standard error of 0.004 (ridge) or 0.001 (nearest
neighbour). They are the same at every epoch, and about half of that variance cancels between neighbouring epochs. Among
fewer rows copies are told apart more easily: readings of some of the rows compare with one another, not with a test of
all rows.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Integer, Key

from jaxmem.classifiers import Classifier, Ridge, as_classifier
from jaxmem.devices import mesh_of, n_devices, n_parts, on_all, several_processes
from jaxmem.fits import PreparedFit
from jaxmem.inference import pvalue
from jaxmem.inputs import Labels, as_features, as_key, as_labels, as_number, on_one_device
from jaxmem.metrics import accuracy
from jaxmem.permutations import CHOSEN_ROWS, Stream, plan
from jaxmem.results import learning_index, memorization_index
from jaxmem.scoring import PRECISIONS, second_stream
from jaxmem.validation import Part

__all__ = ["MemorizationMonitor", "MemorizationReading"]


class MemorizationReading(NamedTuple):
    """What a monitor saw: plain numbers, as `jm.memorization_test` defines them; `_asdict()` suits any logger.

    Attributes:
        epoch: as it was given.
        statistic: accuracy of the observed fit on the copies.
        null: mean of the paired null.
        chance: mean of the broken null.
        memorization: memorization index, NaN where chance is perfect.
        learning: learning index, NaN where the paired null is perfect.
        learning_pvalue: p-value of the statistic within the paired null, at least 1 / (B + 1). Of many epochs, some are
            small by chance.
    """

    epoch: int | None
    statistic: float
    null: float
    chance: float
    memorization: float
    learning: float
    learning_pvalue: float


class MemorizationMonitor:
    """Reads learning and memorization off features during training, cheaply enough to be logged or to stop early.

        monitor = jm.MemorizationMonitor(y)
        watch = monitor.through(lambda params, X: hidden(params, X), X, X_copies)
        for epoch in range(n_epochs):
            params = train_one_epoch(params)
            if watch(params, epoch=epoch).memorization > 0.5:
                break
        pandas.DataFrame(monitor.history)

    A reading equals `jm.memorization_test(classifier, X[rows], y[rows], jm.SharedStructure(X_val[rows]))` with the same
    key and number of permutations, in all that both report.

    Args:
        y: the labels that the network is trained on, shape (n,).
        classifier: one that JAX can trace, `jm.KNeighbors(1)` say; None: `jm.Ridge()`. An unfinished fit of an
            iterative one is read as it is.
        n_permutations: B, how many shuffles; all distinct labellings where there are no more.
        rows: how many training rows to look at, drawn once, every class by its share; None, or n and more: all.
        key: a seed or a JAX key, of the permutations and of the choice of rows.
        devices: JAX devices of this process that share the permutations out among them, as in `permutation_test`; None:
            all that this process has, or the one that `jax.default_device` names. Each prepares all features.

    Attributes:
        rows: the training rows that it looks at, in increasing order, shape (r,).
        history: the readings so far, from every way of taking one.

    Raises:
        ValueError: labels that cannot be tested as they are, among the rows that were drawn, too; a classifier that
            JAX cannot trace; devices that are to share rows out, or of other processes.

    Example:
        >>> import numpy as np
        >>> import jaxmem as jm
        >>> y = np.repeat([0, 1], 20)
        >>> X = np.random.default_rng(0).normal(3 * y[:, None], size=(40, 3))
        >>> monitor = jm.MemorizationMonitor(y)
        >>> reading = monitor(X, X + 0.1, epoch=0)
        >>> reading.learning > reading.memorization
        True
    """

    def __init__(
        self,
        y: Any,
        *,
        classifier: Any = None,
        n_permutations: int = 20,
        rows: int | None = 1_000,
        key: Any = 0,
        devices: Sequence[Any] | Mesh | None = None,
    ) -> None:
        key, labels = as_key(key), as_labels(y)
        classifier = as_classifier(Ridge() if classifier is None else classifier)
        if not isinstance(classifier, Classifier):
            raise ValueError(
                f"a monitor compiles its classifier with JAX, which {classifier!r} does not allow: choose one of "
                "jaxmem's, jm.Ridge() or jm.KNeighbors(1) say."
            )
        n_permutations = as_number(n_permutations, "n_permutations")
        self._mesh = mesh = mesh_of(devices)
        if n_parts(mesh) > 1 or several_processes(mesh):
            raise ValueError(
                f"devices of a monitor share permutations out, and are this process's own, but are {devices!r}: pass a "
                "list of them, jax.local_devices() say."
            )
        self._n = len(labels.codes)
        self.rows = np.arange(self._n) if rows is None else _some_rows(key, labels, as_number(rows, "rows"))
        labels = as_labels(labels.classes[np.asarray(labels.codes)[self.rows]], "y[rows]")
        stream, B, _ = plan(key, labels.codes, n_permutations=n_permutations)
        self._labellings = slice(B + 1)
        # As many for every device; what is beyond the last is not counted.
        size = n_devices(mesh) * -(-(B + 1) // n_devices(mesh))
        shuffled = [_draw(of, labels.codes, size) for of in (stream, second_stream(key, labels.codes))]
        # All that is the same at every reading, in the order that `_counts` takes it.
        self._fixed = classifier, len(labels.classes), mesh, *on_all(shuffled, mesh)
        self.history: list[MemorizationReading] = []

    def __call__(self, X: Any, X_val: Any, *, epoch: int | None = None) -> MemorizationReading:
        """Take a reading of features.

        Args:
            X: features of the training rows, shape (n, d), or of the monitor's rows alone, shape (r, d).
            X_val: features of their perturbed copies, in the same order and of either number of rows. Features of
                another width than before compile anew.
            epoch: for the history and the messages.

        Raises:
            ValueError: features of other rows, of two widths, or not finite.
        """
        with _at(epoch):
            X, X_val = (self._features(part, name) for part, name in ((X, "X"), (X_val, "X_val")))
            _check_widths(X, X_val)
            counts = _counts(*self._fixed, *on_all((X, X_val), self._mesh))
        return self._recorded(counts, epoch)

    def through(
        self, features: Callable[[Any, Array], Array], X: Any, X_val: Any
    ) -> Callable[..., MemorizationReading]:
        """Bind the inputs, and what makes features of them: then parameters are enough for a reading.

        The forward pass is compiled, on the devices that parameters lie on. Only the monitor's rows are kept and passed
        through.

        Args:
            features: `(params, X (r, ...)) -> (r, ...)`, which JAX can trace, with dropout switched off; made flat to
                one row per example.
            X: inputs of the training rows, shape (n, ...), or of the monitor's rows alone, shape (r, ...).
            X_val: their perturbed copies, in the same order.

        Returns:
            `watch(params, *, epoch=None)`, which takes a reading as the monitor itself does, into the same history.

        Raises:
            ValueError: inputs of other rows; when called, features that the monitor itself would refuse.
        """
        inputs = tuple(jnp.asarray(self._own_rows(part, name)) for part, name in ((X, "X"), (X_val, "X_val")))

        # Inputs are arguments: what a compiled function closes over becomes part of the program. This one is apart from
        # the reading, whose devices may be others.
        @jax.jit
        def made(params: Any, inputs: tuple[Array, Array]) -> Any:
            X, X_val = (_flat(features(params, part), len(self.rows)) for part in inputs)
            _check_widths(X, X_val)
            return (X, X_val), (_sound(X), _sound(X_val))

        def watch(params: Any, *, epoch: int | None = None) -> MemorizationReading:
            with _at(epoch):
                pair, sound = made(params, inputs)
                counts, sound = jax.device_get((_counts(*self._fixed, *on_all(pair, self._mesh)), sound))
                for name, rows in zip(("X", "X_val"), sound, strict=True):
                    if not rows.all():
                        raise ValueError(
                            f"features of {name} are NaN, infinite or too large to be squared in {(~rows).sum()} of "
                            f"{rows.size} rows, the first in row {self.rows[rows.argmin()]}. Has training blown up? A "
                            "lower learning rate helps."
                        )
            return self._recorded(counts, epoch)

        return watch

    def _own_rows(self, X: Any, name: str) -> Any:
        X = X if hasattr(X, "shape") else np.asarray(X)
        given, own = tuple(X.shape[:1]), len(self.rows)
        if given not in ((self._n,), (own,)):
            expected = f"{self._n}" if own == self._n else f"{self._n}, or {own} for the monitor's rows alone"
            raise ValueError(f"{name} must have one row per label, {expected}, but has shape {tuple(X.shape)}.")
        if given == (own,):
            return X
        X = on_one_device(X)
        return _taken(X, self.rows) if isinstance(X, jax.Array) else X[self.rows]

    def _features(self, X: Any, name: str) -> Float[Array, "r d"]:
        own = self._own_rows(X, name)
        return as_features(own, name if own is X else f"{name}[monitor.rows]")

    def _recorded(self, counts: Any, epoch: int | None) -> MemorizationReading:
        accuracies = {
            kind: np.asarray(accuracy.finish(correct[self._labellings], len(self.rows)), float)
            for kind, correct in jax.device_get(counts).items()
        }
        paired, statistic = accuracies["paired"][1:], float(accuracies["paired"][0])
        null, chance = float(paired.mean()), float(accuracies["broken"][1:].mean())
        reading = MemorizationReading(
            epoch=epoch,
            statistic=statistic,
            null=null,
            chance=chance,
            memorization=memorization_index(null, chance) if chance < 1 else float("nan"),
            learning=learning_index(statistic, null) if null < 1 else float("nan"),
            learning_pvalue=pvalue(statistic, paired),
        )
        self.history.append(reading)
        return reading


@partial(jax.jit, static_argnums=(0, 1, 2))
def _counts(
    classifier: Classifier,
    n_classes: int,
    mesh: Mesh | None,
    labels: Integer[Array, "draws r"],
    others: Integer[Array, "draws r"],
    X: Float[Array, "r d"],
    X_val: Float[Array, "r d"],
) -> dict[str, Int[Array, " draws"]]:
    """How many copies every labelling predicts right, paired and broken: the engine's own fit, traced as a whole."""
    fit = PreparedFit(classifier, accuracy, X, n_classes, {"copies": Part(None, X_val.astype(X.dtype))}, mesh=mesh)
    with jax.default_matmul_precision(PRECISIONS["float32"]):
        counts = fit(labels, others, np.ones(len(labels), bool)).metric["copies"]
    if counts["paired"].ndim > 1:
        raise ValueError(
            f"{classifier!r} is {counts['paired'].shape[1]} classifiers: give one value per hyperparameter, and every "
            "other value a monitor of its own."
        )
    return counts


@partial(jax.jit, static_argnums=2)
def _draw(stream: Stream, y: Integer[Array, " r"], size: int) -> Integer[Array, "size r"]:
    """Labels under permutations 0 .. size - 1."""
    return jax.vmap(lambda index: stream.labels(y, index))(jnp.arange(size))


def _some_rows(key: Key[Array, ""], labels: Labels, size: int) -> Int[np.ndarray, " r"]:
    """So many rows at random, at even steps through the rows sorted by class: each class has its share, up to one."""
    codes = np.asarray(labels.codes)
    n = codes.size
    if size >= n:
        return np.arange(n)
    by_class = np.lexsort((np.asarray(jax.random.permutation(jax.random.fold_in(key, CHOSEN_ROWS), n)), codes))
    return np.sort(by_class[(2 * np.arange(size) + 1) * n // (2 * size)])


@jax.jit
def _taken(X: Array, rows: Int[Array, " r"]) -> Array:
    """Some rows, without the checks of an index that JAX makes outside of a compiled function, which take longer."""
    return X[rows]


def _flat(features: Any, n_rows: int) -> Float[Array, "r d"]:
    """Features made by a function of the user's, as they must be for a fit."""
    if jnp.shape(features)[:1] != (n_rows,):
        raise ValueError(
            f"features(params, X) must have one row for each of the {n_rows} rows of X, but has shape "
            f"{jnp.shape(features)}."
        )
    flat = features.reshape(n_rows, -1)
    return flat.astype(jnp.promote_types(flat.dtype, jnp.float32))


def _sound(X: Float[Array, "r d"]) -> Bool[Array, " r"]:
    """Whether a row is finite, and its squares, too, as often as there are rows."""
    return jnp.isfinite(len(X) * (X**2).sum(axis=1))


def _check_widths(X: Float[Array, "r d"], X_val: Float[Array, "r e"]) -> None:
    if X.shape[1] != X_val.shape[1]:
        raise ValueError(f"X_val has {X_val.shape[1]} features, but X has {X.shape[1]}: extract both in the same way.")


@contextmanager
def _at(epoch: int | None) -> Iterator[None]:
    """Say of every refusal at which epoch it came."""
    try:
        yield
    except ValueError as error:
        if epoch is None:
            raise
        raise ValueError(f"epoch {epoch}: {error}") from error
