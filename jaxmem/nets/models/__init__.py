"""Networks whose every hidden layer has a name.

A network, here, is any Flax NNX module with two methods:

    __call__(X) -> logits                      (n, n_classes)
    hidden(X)   -> {name: activation, ...}     (n, ...) each, from the input side to the output side

`train` needs the first, `features` the second. A method that returns the activations, rather than values sown
and captured along the way, keeps both pure: they run unchanged under `jax.jit`, and under `jax.vmap` over an
ensemble, and nothing about the network changes because it is watched.

Every network here has one `dropout`, whose rate is state: networks that differ in it alone stack into one ensemble.
"""

import math
from collections.abc import Sequence
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from jaxmem.inputs import one_of
from jaxmem.nets.models.checks import check_inputs
from jaxmem.nets.models.cnn import CNN
from jaxmem.nets.models.layers import ACTIVATIONS
from jaxmem.nets.models.mlp import MLP
from jaxmem.nets.models.resnet import ResNet
from jaxmem.nets.models.vit import ViT

__all__ = ["ACTIVATIONS", "CNN", "MLP", "NETWORKS", "ResNet", "ViT", "call", "check_inputs", "network"]

NETWORKS = ("mlp", "cnn", "resnet", "vit")


def call(model: nnx.Module, X: Any) -> Any:
    """The logits of any module, whatever it sows on the way: Flax lets modules sow only while someone captures."""
    logits, _ = nnx.capture(model, nnx.Intermediate)(X)
    return logits


def network(
    name: str,
    image_shape: Sequence[int],
    n_classes: int,
    *,
    widths: Sequence[int] | None = None,
    dropout: float | Float[Array, ""] = 0.0,
    activation: str = "relu",
    batch_norm: bool = False,
    rngs: nnx.Rngs,
) -> MLP | CNN | ResNet | ViT:
    """Make a network by its name.

    Args:
        name: one of `NETWORKS`.
        image_shape: shape of one input: (h, w, c), or for "mlp" any other, too.
        n_classes: number of logits, at least 2.
        widths: units of each hidden layer ("mlp"), channels of each stage ("cnn", "resnet"), or the width of each
            block, all equal ("vit"); None: the network's own default.
        dropout: probability in [0, 1) that a unit is dropped in training; where, the network says.
        activation: one of `ACTIVATIONS`.
        batch_norm: batch norm before every activation, for all but "vit"; the ResNet then lacks its group norms.
        rngs: where the initial weights are drawn from, e.g. `nnx.Rngs(0)`.

    Raises:
        ValueError: an unknown name (with the nearest ones), an option that the network does not have, or one that it
            refuses.

    Example:
        >>> from flax import nnx
        >>> from jaxmem.nets import network
        >>> model = network("mlp", (8, 8, 1), n_classes=3, widths=(16,), rngs=nnx.Rngs(0))
        >>> type(model).__name__
        'MLP'
    """
    one_of(name, NETWORKS, "network")
    options: dict[str, Any] = {"dropout": dropout, "activation": activation}
    if widths is not None:
        options["widths"] = tuple(widths)
    if name == "vit":
        if batch_norm:
            raise ValueError(
                "The network 'vit' has no batch norm (its layer norms stay); expected batch_norm=False, or one of "
                f"{', '.join(repr(other) for other in NETWORKS if other != 'vit')}."
            )
        return ViT(image_shape, n_classes, **options, rngs=rngs)
    options["batch_norm"] = batch_norm
    if name == "mlp":
        return MLP(math.prod(image_shape), n_classes, **options, rngs=rngs)
    return {"cnn": CNN, "resnet": ResNet}[name](image_shape, n_classes, **options, rngs=rngs)
