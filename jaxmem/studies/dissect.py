"""One way to learn, many ways to memorize? Groups of networks compared within themselves, on rows seen and unseen.

Groups, of as many networks each, every one with weights and minibatches of its own:

* true: trained on the true labels;
* shared random: on one random labelling, the same for all;
* different random: on a random labelling each;
* share s: on the true labels but for a share s of the rows, whose labels are shuffled, anew for each network;
* untrained.

Every pair of networks is compared at every kept epoch and layer, and at the output, on training rows, test rows and
Gaussian noise with the moments of the pixels. Networks of the group `shared random` have learnt to agree on the
training rows, so that what they have in common there says little: the other rows do.

Mean CCA counts directions of next to no variance like all others, and networks of true labels have most of theirs in
few: on 400 test rows they stand out from those of one random labelling by 0.02 where SVCCA finds 0.18 (eight networks a
group, 64 features, 99% of the variance in some 18 directions and in 48). More rows do not change that, and the interval
of four networks a group holds zero.

The numbers (`Record.data`) have dimensions measure, rows, epoch, layer, network, group, contrast. `similarity` has all
pairs, `within_mean` the means within groups with intervals over networks, `difference` those of the first group minus
those of the second, turned so that positive says more alike, with `difference_pvalue` and, over all cells of a
contrast (studentised maxT), `difference_pvalue_adjusted`; `network_train_accuracy` is on a network's own labels.

Reconstructed from the abstract of Gu & Tresp (2019), arXiv:1911.09537: groups, measures, rows and settings are ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmem.data import gaussian_noise_inputs, random_labels
from jaxmem.inference import difference_of_pairs, of_pairs
from jaxmem.inputs import one_of
from jaxmem.similarity import MEASURES, fewest_rows, group_similarity_tests, similarities
from jaxmem.studies.dissection import FACTS, GRADIENTS, shown_layer
from jaxmem.studies.experiment import Data, Network, Setting, Training
from jaxmem.studies.networks import train_networks, widths_of_layers
from jaxmem.studies.rows import INPUTS, LABELS, NETWORK, Rows, digest, draw_rows, key_for
from jaxmem.studies.store import Piece, Store, Work
from jaxmem.studies.study import Measure, Study
from jaxmem.studies.summary import Claim

if TYPE_CHECKING:
    import xarray

__all__ = ["STUDY", "Config"]

TRUE, SHARED, DIFFERENT, UNTRAINED = "true", "shared random", "different random", "untrained"
_ROWS = ("train", "test", "noise")
_OUTPUT = "output"


@dataclass(frozen=True)
class Config(Setting):
    """Similarity within groups of networks that learn, memorize, or do neither.

    Args:
        seeds: networks in each group, 3 or more; with 3 against 3 no p-value is below 1/20.
        measures: of similarity, by name; those of functions compare the outputs, "input-gradient" the directions in
            which the loss of a row, under its true label, grows.
        shares: of random labels, in (0, 1), each a further group.
        n_rows: rows of each kind to compare on, 4 or more, 12 for "neighbors": for "procrustes" and other measures that
            ask for it, two more than the widest layer has features; for "cca" and "pwcca", one more than twice as many.
        layers: hidden layers by name; no name: all of them.
        pool: average activations over places (pixels, tokens) instead of flattening them.
    """

    data: Data = Data(n_train=1_000)
    network: Network = Network(widths=(128, 128, 64))
    training: Training = Training(epochs=60, keep_epochs=(0, 5, 20, 60))
    seeds: int = 5
    measures: tuple[str, ...] = ("cka", "neighbors", "procrustes", "agreement", "kappa", "jensen-shannon", GRADIENTS)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75)
    n_rows: int = 500
    layers: tuple[str, ...] = ()
    pool: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read."""
        super().__post_init__()
        if not self.measures:
            raise ValueError("measures must name at least one.")
        for name in self.measures:
            one_of(name, FACTS, "measures")
        if not all(0 < share < 1 for share in self.shares) or len(set(self.shares)) < len(self.shares):
            raise ValueError(f"shares must lie between 0 and 1, each once, but are {self.shares!r}.")
        if self.seeds < 3:
            raise ValueError(f"seeds is {self.seeds}; groups of fewer than 3 networks say nothing of others.")
        for name in self.measures:  # That of gradients comes from the networks and asks for no more than others do.
            if self.n_rows < (needed := fewest_rows(MEASURES.get(name, MEASURES["cka"]), 1, 1)):
                raise ValueError(
                    f"measure {name!r} takes {needed} rows of each kind, but n_rows is {self.n_rows}. Compare on more "
                    f"rows (--n-rows {needed})."
                )


def _groups(config: Config) -> list[str]:
    return [TRUE, SHARED, DIFFERENT, *(f"share {share:g}" for share in config.shares), UNTRAINED]


def _labellings(config: Config, y: np.ndarray) -> dict[str, np.ndarray]:
    """The labels of the networks of every group that is trained, (networks, rows)."""
    key = key_for(config, LABELS)

    def shuffled(group: int, share: float) -> np.ndarray:
        keys = [jax.random.fold_in(jax.random.fold_in(key, group), number) for number in range(config.seeds)]
        return np.stack([np.asarray(random_labels(one, y, share)) for one in keys])

    true, shared = (np.stack([one] * config.seeds) for one in (y, shuffled(0, 1.0)[0]))
    shares = [shuffled(2 + at, share) for at, share in enumerate(config.shares)]
    return dict(zip(_groups(config)[:-1], [true, shared, shuffled(1, 1.0), *shares], strict=True))


def _pieces(config: Config, store: Store, progress: bool) -> Iterator[Work]:
    rows = draw_rows(config, 0)
    if config.n_rows > min(len(rows.X), len(rows.X_test)):
        raise ValueError(
            f"n_rows is {config.n_rows}, but there are {len(rows.X)} training rows and {len(rows.X_test)} test rows."
        )
    _check_widths(config)
    compared = _compared_rows(config, rows)
    trained = cache(lambda: _train(config, rows, store, progress))

    def of_epoch(epoch: int) -> Piece:
        return _of_epoch(config, trained(), epoch, compared)

    for epoch in config.training.keep_epochs:
        yield Work(_key(config, epoch), partial(of_epoch, epoch), f"epoch {epoch}")


def _check_widths(config: Config) -> None:
    """Refuse layers too wide for a measure before networks are trained, and not after."""
    widths = widths_of_layers(config, pool="mean" if config.pool else None)
    for layer in config.layers:
        one_of(layer, widths, "each of layers")
    for name in config.measures:
        if not FACTS[name].more_rows_than_features:
            continue
        for layer in config.layers or widths:
            needed = fewest_rows(MEASURES[name], widths[layer], widths[layer])
            if config.n_rows < needed:
                others = [one for one in config.measures if not FACTS[one].more_rows_than_features]
                raise ValueError(
                    f"layer {layer!r} has {widths[layer]} features, for which measure {name!r} takes {needed} rows of "
                    f"each kind, but n_rows is {config.n_rows}. Compare on more rows (--n-rows {needed}), average over "
                    "places (--pool), read narrower layers (--layers), or take other measures (--measures "
                    f"{' '.join(others or ['cka', 'neighbors'])})."
                )


def _key(config: Config, epoch: int) -> Any:
    return "dissected", config, digest(config), epoch


def _compared_rows(config: Config, rows: Rows) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Inputs of every kind, with true labels where there are such."""
    n = config.n_rows
    noise = gaussian_noise_inputs(key_for(config, INPUTS), rows.X_test[:n], "matched")
    return {
        "train": (rows.X[:n], rows.y_true[:n]),
        "test": (rows.X_test[:n], rows.y_test[:n]),
        "noise": (np.asarray(noise), None),
    }


def _train(config: Config, rows: Rows, store: Store, progress: bool) -> dict[str, Any]:
    """The ensembles of all groups, with the labels that they were trained on."""
    from tqdm import tqdm

    labels, ensembles = _labellings(config, rows.y), {}
    total = config.training.epochs * len(labels)
    with tqdm(total=total, desc="training", leave=False, disable=not progress or None) as bar:
        for number, (group, y) in enumerate(labels.items()):
            keys = _network_keys(config, number)
            checkpoint = store.folder_for(("dissected", config, digest(config), group))
            ensemble = train_networks(config, rows.X, y, keys, checkpoint, lambda *_: bar.update())
            ensembles[group] = ensemble, rows.X, y
    # Networks of their own, for a network is like what it began as; one epoch is the least that can be trained.
    untrained = replace(config, training=replace(config.training, epochs=1, keep_epochs=(0, 1)))
    keys = _network_keys(config, len(labels))
    ensembles[UNTRAINED] = (train_networks(untrained, rows.X, labels[TRUE], keys), rows.X, labels[TRUE])
    return ensembles


def _network_keys(config: Config, group: int) -> Any:
    first = group * config.seeds
    return jnp.stack([key_for(config, NETWORK, first + number) for number in range(config.seeds)])


def _of_epoch(
    config: Config, ensembles: dict[str, Any], epoch: int, compared: dict[str, tuple[np.ndarray, np.ndarray | None]]
) -> Piece:
    """Similarities of all pairs at one epoch, by "rows/layer/measure", and the accuracies of every network."""
    from jaxmem.nets import features, gradient_cosines, logits

    models, accuracies = [], []
    X_test, y_test = compared["test"]
    for group, (ensemble, X, labels) in ensembles.items():
        for number, y in enumerate(labels):
            model = ensemble.member(number).at(0 if group == UNTRAINED else epoch)
            models.append(model)
            predicted = [np.asarray(logits(model, inputs)).argmax(axis=1) for inputs in (X, X_test)]
            accuracies.append([(predicted[0] == y).mean(), (predicted[1] == y_test).mean()])
    piece = {"accuracy": np.array(accuracies)}
    pool = "mean" if config.pool else None
    for kind, (inputs, y) in compared.items():
        hidden = [features(model, inputs, layers=config.layers or None, pool=pool) for model in models]
        outputs = [logits(model, inputs) for model in models]
        wrong = None if y is None else [np.asarray(one).argmax(axis=1) != y for one in outputs]
        for name in config.measures:
            takes = FACTS[name].takes
            if takes == "features":
                for layer in hidden[0]:
                    piece[f"{kind}/{layer}/{name}"] = _similarities([one[layer] for one in hidden], name, layer)
            if takes == "gradients":
                if y is not None:
                    piece[f"{kind}/{_OUTPUT}/{name}"] = gradient_cosines(models, inputs, y)
            elif takes != "errors" or wrong is not None:
                given = wrong if takes == "errors" else outputs
                piece[f"{kind}/{_OUTPUT}/{name}"] = _similarities(given, name, _OUTPUT)
    return piece


def _similarities(networks: Any, measure: str, layer: str) -> np.ndarray:
    try:
        return similarities(networks, measure)
    except ValueError as error:
        raise ValueError(f"layer {layer!r}: {error}") from error


def _label(config: Config, store: Store) -> "xarray.Dataset":
    """Similarities, means within groups, and tests of every pair of groups, labelled."""
    import xarray

    groups = _groups(config)
    pieces = [store[_key(config, epoch)] for epoch in config.training.keep_epochs]
    layers = list(dict.fromkeys(name.split("/")[1] for name in pieces[0] if "/" in name))
    layers.sort(key=lambda layer: layer == _OUTPUT)  # Stable: the output comes last.
    n, of_network = len(groups) * config.seeds, np.repeat(groups, config.seeds)
    cells = ("measure", "rows", "epoch", "layer")
    shape = len(config.measures), len(_ROWS), len(pieces), len(layers)
    found = np.full((*shape, n, n), np.nan)
    for epoch, piece in enumerate(pieces):
        for name, matrix in piece.items():
            if "/" in name:
                kind, layer, measure = name.split("/")
                found[config.measures.index(measure), _ROWS.index(kind), epoch, layers.index(layer)] = matrix
    there = [at for at in np.ndindex(shape) if np.isfinite(found[at]).all()]
    within = np.full((3, *shape, len(groups)), np.nan)
    for at in there:
        for number, group in enumerate(groups):
            members = of_network == group
            within[(slice(None), *at, number)] = of_pairs(found[at][np.ix_(members, members)])[:3]
    contrasts = [f"{first} - {second}" for first, second in combinations(groups, 2)]
    tested = np.full((5, len(contrasts), *shape), np.nan)
    for number, (first, second) in enumerate(combinations(groups, 2)):
        matrices = {str(at): _more_alike(config, at, found) for at in there}
        tests = group_similarity_tests(matrices, of_network, first, second, n_permutations=999, key=config.seed)
        members = (of_network == first) | (of_network == second)
        for place, at in enumerate(there):
            own = matrices[str(at)][np.ix_(members, members)]
            difference = difference_of_pairs(own, of_network[members] == first)
            tested[(slice(None), number, *at)] = [*difference[:3], tests.pvalue[place], tests.pvalue_adjusted[place]]
    variables: dict[str, Any] = {"similarity": ((*cells, "network", "other_network"), found)}
    for name, values in zip(("mean", "low", "high"), within, strict=True):
        variables[f"within_{name}"] = ((*cells, "group"), values)
    names = ("difference", "difference_low", "difference_high", "difference_pvalue", "difference_pvalue_adjusted")
    for name, values in zip(names, tested, strict=True):
        variables[name] = (("contrast", *cells), values)
    accuracy = np.stack([piece["accuracy"] for piece in pieces])
    for name, values in zip(("train_accuracy", "test_accuracy"), np.moveaxis(accuracy, -1, 0), strict=True):
        variables[f"network_{name}"] = (("epoch", "network"), values)
    coordinates = {
        "measure": list(config.measures),
        "rows": list(_ROWS),
        "epoch": list(config.training.keep_epochs),
        "layer": layers,
        "group": groups,
        "contrast": contrasts,
        "network": np.arange(n),
        "other_network": np.arange(n),
        "group_of_network": ("network", of_network),
    }
    return xarray.Dataset(variables, coordinates)


def _more_alike(config: Config, at: tuple[int, ...], found: np.ndarray) -> np.ndarray:
    """Similarities turned so that larger means more alike."""
    return found[at] if FACTS[config.measures[at[0]]].larger_is_similar else -found[at]


def _claims(data: "xarray.Dataset") -> list[Claim]:
    last = data.isel(epoch=-1)
    accuracy = last.network_train_accuracy.sel(network=last.group_of_network != UNTRAINED)
    lowest = float(accuracy.min())
    claims = [Claim("every trained network fits its own labels (beyond 0.95)", lowest > 0.95, f"{lowest:.3f}")]
    for first, second in ((TRUE, SHARED), (SHARED, DIFFERENT)):
        for measure in data.measure.values:
            if FACTS[str(measure)].takes == "errors":
                continue  # Networks that are wrong nearly everywhere are wrong on the same rows, whatever they learnt.
            layer = shown_layer(data, measure)
            own = last.sel(contrast=f"{first} - {second}", measure=measure, rows="test", layer=layer)
            mean, low, high, p = (float(own[f"difference{name}"]) for name in ("", "_low", "_high", "_pvalue_adjusted"))
            claims.append(
                Claim(
                    f"{first} > {second} on test rows ({measure}, {layer})",
                    low > 0 and p <= 0.05,
                    f"by {mean:.3f} [{low:.3f}, {high:.3f}], adjusted p {p:.3g}",
                )
            )
    if "agreement" in data.measure:
        agreement = last.within_mean.sel(measure="agreement", layer=_OUTPUT, group=SHARED)
        train, test = (float(agreement.sel(rows=rows)) for rows in ("train", "test"))
        text = f"networks of {SHARED!r} agree on training rows (beyond 0.99), and not on test rows (below 0.9)"
        claims.append(Claim(text, train > 0.99 and test < 0.9, f"{train:.3f} and {test:.3f}"))
    return claims


STUDY = Study(
    "dissect",
    "Is there one way to learn, and are there many ways to memorize?",
    Config,
    Measure(_pieces, _label),
    "epoch",
    _claims,
    figures=("similarity", "heatmaps", "map"),
    varies={"data.random_labels": "shares", "data.confused_labels": "shares"},
)
