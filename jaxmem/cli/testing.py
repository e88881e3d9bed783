"""`jaxmem test`: features and labels of one's own, out of files, into one permutation test or memorization test."""

import ast
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from jaxmem.classifiers import Classifier
from jaxmem.data.tables import is_file, read_features, read_labels
from jaxmem.engine import permutation_test
from jaxmem.fits import check_blocks
from jaxmem.inference import ALTERNATIVES
from jaxmem.inputs import as_features, check_shape, one_of
from jaxmem.memorization import memorization_test
from jaxmem.metrics import METRICS, Metric
from jaxmem.results import MemorizationTest, PermutationTest
from jaxmem.streaming import Features, RowBlocks, as_rows
from jaxmem.studies.experiment import CLASSIFIERS
from jaxmem.validation import Holdout, KFold, Part, SharedStructure

__all__ = ["Options", "as_values", "classifier_of", "conduct", "validation_of", "words_of"]


@dataclass(frozen=True)
class Options:
    """What is tested, and how.

    Args:
        features: a file with a row of features per example: .npy, .npz, .csv, .tsv, .parquet, .h5 or .zarr; of a file
            of several arrays one of them, as FILE:NAME. Of a table all columns, but for those named here. Arrays of
            .npy, .h5 and .zarr files may be larger than memory where copies or a holdout are scored by "ridge", "lda",
            "centroid" or "naive-bayes".
        labels: a file with a label per example, or the name of a column or array in the file of features.
        copies: score perturbed copies of the rows, which have the labels of their sources: a file of their features.
        source: the row, counted from 0, that each copy was made from: a file, or a name in that of the copies; None:
            the same rows in the same order.
        holdout: score independent rows with labels of their own: a file of their features.
        holdout_labels: their labels, a file or a name in that of the holdout; None: the name that LABELS is.
        folds: score by cross-validation in so many folds, if there are neither copies nor a holdout; None: 5.
        drop: columns of tables that are neither features nor labels.
        classifier: a shallow classifier by name, "ridge", "lda", "centroid", "naive-bayes", "knn" (the nearest row),
            "knn10" (the ten nearest), "softmax" or "svm", and settings if they are to be others,
            "ridge:alpha=10,standardize=True" say.
        memorization: tell learning from memorization on the copies, with the holdout, if there is one, beside them.
        metric: what is scored.
        alternative: "greater", "less" or "two-sided".
        scheme: "free", "within" or "whole": what may be exchanged with what.
        blocks: the block of each row, for "within" and "whole": a file, or a name in that of the features.
        n_permutations: shuffles; the smallest p-value is 1 / (1 + this). A first look takes 999; functions of the
            library take 9,999 if they are not told.
        seed: of the permutations.
    """

    features: tyro.conf.Positional[str] = tyro.MISSING
    labels: tyro.conf.Positional[str] = tyro.MISSING
    copies: str | None = None
    source: str | None = None
    holdout: str | None = None
    holdout_labels: str | None = None
    folds: int | None = None
    drop: tuple[str, ...] = ()
    classifier: str = "ridge"
    memorization: bool = False
    metric: str = "accuracy"
    alternative: str = "greater"
    scheme: str = "free"
    blocks: str | None = None
    n_permutations: int = 999
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked before a file is read."""
        classifier_of(self.classifier)
        one_of(self.metric, METRICS, "metric")
        one_of(self.alternative, ALTERNATIVES, "alternative")
        if self.copies is None and (self.memorization or self.source):
            name = "memorization" if self.memorization else "source"
            raise ValueError(f"{name} is about perturbed copies of the rows: give a file of them, copies.")
        if self.holdout is None and self.holdout_labels is not None:
            raise ValueError("holdout_labels are there, but no holdout: give a file of its features.")
        if self.copies is not None and self.holdout is not None and not self.memorization:
            raise ValueError("copies and holdout are both given: one test scores one of them; memorization takes both.")
        if self.folds is not None and (given := [name for name in ("copies", "holdout") if getattr(self, name)]):
            raise ValueError(f"{given[0]} are scored, and rows are not divided: leave out folds={self.folds!r}.")
        usual = {"metric": "accuracy", "alternative": "greater", "scheme": "free"}
        others = [f"{name}={value!r}" for name in usual if (value := getattr(self, name)) != usual[name]]
        if self.memorization and others:
            raise ValueError(
                f"memorization is measured by accuracy under free permutations: leave out {', '.join(others)}."
            )


def classifier_of(text: str) -> Classifier:
    """A classifier by name, with settings or without: "ridge:alpha=10,standardize=True".

    Raises:
        ValueError: no such classifier, no such setting, or a value that it does not take.
    """
    name, _, settings = text.partition(":")
    standard: Any = CLASSIFIERS[one_of(name, CLASSIFIERS, "classifier")]
    fields = [field.name for field in dataclasses.fields(standard)]
    try:
        call = ast.parse(f"_({settings})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not all(word.arg for word in call.keywords):
            raise ValueError
        given = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError) as error:
        example = f"{name}:{fields[0]}={getattr(standard, fields[0])!r}" if fields else name
        raise ValueError(f"the settings of classifier {text!r} cannot be read: write {example!r} say.") from error
    for setting in given:
        one_of(setting, fields, f"a setting of classifier {name!r}")
    try:
        return dataclasses.replace(standard, **given)
    except TypeError as error:
        raise ValueError(f"classifier {text!r} cannot be made: {error}.") from error


def conduct(options: Options, checkpoint: Path, *, progress: bool) -> PermutationTest | MemorizationTest:
    """Read the files and test what is in them.

    Args:
        options: what and how.
        checkpoint: a file from which the same test goes on when it was killed.
        progress: show a bar on a terminal.

    Raises:
        ValueError: files that cannot be read, or that do not belong together; whatever the test itself refuses.
    """
    if options.holdout is not None and options.holdout_labels is None and is_file(options.labels):
        raise ValueError(
            f"holdout_labels are missing: {options.labels} has the labels of {options.features}, and the rows of "
            f"{options.holdout} have labels of their own. Give a file of them, or their name in {options.holdout}."
        )
    columns = None  # Those of the features, which the other tables must have as well.

    def read(where: str) -> Any:
        nonlocal columns
        values, columns = read_features(where, without=_named(options), drop=options.drop, columns=columns)
        check_shape(tuple(values.shape), where)
        return values

    # Labels first: a column that is misspelt is said with the nearest, not as a feature that is no number.
    y = read_labels(options.labels, options.features)
    rows = {where: read(where) for where in (options.features, options.copies, options.holdout) if where is not None}
    if options.drop and columns is None:
        raise ValueError(f"drop is of columns of tables, but {options.features} is an array: leave out `drop`.")
    n = rows[options.features].shape[0]
    if n != len(y):
        raise ValueError(
            f"{options.features} has {n} rows, but {options.labels} has {len(y)} labels: give one label per row."
        )
    by_fold = options.copies is None and options.holdout is None
    if by_fold and not 2 <= _folds(options) <= n:
        raise ValueError(f"folds must be 2 to {n}, the rows of {options.features}, but is {_folds(options)}.")
    classifier, metric = classifier_of(options.classifier), METRICS[options.metric]
    streamed = not by_fold and _can_be_streamed(classifier, metric, y, rows[options.features], *rows.values())

    def taken(where: str, values: Any) -> Features:
        try:
            return as_rows(values, where) if streamed else as_features(np.asarray(values), where)
        except MemoryError as error:
            raise ValueError(
                f"{where} does not fit into memory: {error}. Rows are read a block at a time out of .npy, .h5 and "
                ".zarr files, where copies or a holdout are scored by ridge, lda, centroid or naive-bayes."
            ) from error

    features = {where: taken(where, rows.pop(where)) for where in list(rows)}
    copies = holdout = None
    if options.copies is not None:
        source = None if options.source is None else read_labels(options.source, options.copies, "source")
        copies = SharedStructure(features[options.copies], source)
    if options.holdout is not None:
        labels = read_labels(options.holdout_labels or options.labels, options.holdout, "holdout_labels")
        holdout = Holdout(features[options.holdout], labels)
    blocks = None if options.blocks is None else read_labels(options.blocks, options.features, "blocks")
    common: dict[str, Any] = {"key": options.seed, "checkpoint": checkpoint, "progress": progress}
    common |= {"n_permutations": options.n_permutations}
    if options.memorization:
        assert copies is not None  # Options see to it.
        return memorization_test(classifier, features[options.features], y, copies, test=holdout, **common)
    return permutation_test(
        classifier,
        features[options.features],
        y,
        validation=copies or holdout or KFold(_folds(options)),
        metric=metric,
        alternative=options.alternative,
        scheme=options.scheme,
        blocks=blocks,
        **common,
    )


def _can_be_streamed(classifier: Classifier, metric: Metric, y: np.ndarray, X: Any, *to_score: Any) -> bool:
    """Whether such a test takes its rows a block at a time."""
    try:
        parts = [Part(None, RowBlocks(rows)) for rows in to_score]
        check_blocks(classifier, metric, RowBlocks(X), len(np.unique(y)), {"": parts})
    except ValueError:
        return False
    return True


def validation_of(options: Options) -> str:
    """Which rows a test scores, in words."""
    named = {"copies of the rows": options.copies, "independent rows": options.holdout}
    words = [f"{rows} ({where})" for rows, where in named.items() if where is not None]
    return " and ".join(words) or f"{_folds(options)} folds of the rows"


def words_of(options: Options) -> dict[str, str]:
    """What was typed for the arguments that functions of the library have, for their messages."""
    to_score = " or ".join(where for where in (options.copies, options.holdout) if where is not None)
    words = {"X": options.features, "y": options.labels, "X_val": to_score, "y_val": options.holdout_labels}
    return {name: typed for name, typed in words.items() if typed}


def _folds(options: Options) -> int:
    return 5 if options.folds is None else options.folds


def _named(options: Options) -> list[str]:
    """The columns of tables that are something else than features."""
    named = options.labels, options.blocks, options.source, options.holdout_labels
    return [name for name in named if name is not None]


def as_values(test: PermutationTest | MemorizationTest) -> dict[str, Any]:
    """What a test found, as plain values."""
    null = test.null_distribution
    values: dict[str, Any] = {
        "classifier": test.classifier,
        "statistic": np.asarray(test.statistic).tolist(),
        "null_mean": null.mean(axis=0).tolist(),
        "null_std": null.std(axis=0).tolist(),
        "n_permutations": len(null),
        "exact": test.exact,
    }
    if isinstance(test, MemorizationTest):
        return values | {
            "chance": test.chance,
            "test_statistic": test.test_statistic,
            "learning": test.learning,
            "memorization": test.memorization,
            "learning_pvalue": test.learning_pvalue,
            "memorization_pvalue": test.memorization_pvalue,
            "verdict": str(test.verdict()),
        }
    return values | {
        "metric": test.metric,
        "alternative": test.alternative,
        "pvalue": np.asarray(test.pvalue).tolist(),
        "zscore": np.asarray(test.zscore).tolist(),
    }
