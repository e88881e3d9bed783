"""What the networks are built from: activations by name, dropout, batch norm, convolution and pooling."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

__all__ = ["ACTIVATIONS", "Convolution", "Dropout", "DropoutRate", "batch_normalization", "max_pool", "mean_pool"]

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": nnx.relu,
    "leaky_relu": nnx.leaky_relu,
    "elu": nnx.elu,
    "gelu": nnx.gelu,
    "silu": nnx.silu,
    "tanh": nnx.tanh,
    "sigmoid": nnx.sigmoid,
}


class DropoutRate(nnx.Variable):
    """A probability that is state of a network but none of its parameters: no optimizer moves it."""


class Dropout(nnx.Module):
    """Drop each unit with probability `rate` in training, and divide those that stay by 1 - rate.

    The masks are those of `nnx.Dropout` from the same `rngs`. What differs: the rate is state, so networks with other
    rates share one compiled program, and stack into one ensemble under `jax.vmap`. At rate 0 the output is exactly the
    input. (Srivastava et al., 2014.)

    Args:
        rate: probability in [0, 1); the network that holds this checks it.
        rngs: where the stream "dropout" comes from.
    """

    def __init__(self, rate: float | Float[Array, ""], *, rngs: nnx.Rngs):
        self.rate = DropoutRate(jnp.asarray(rate, jnp.float32))
        self.rngs = rngs["dropout"].fork()
        self.deterministic = False  # set by `train()` and `eval()` of the network

    def __call__(self, X: Float[Array, "..."]) -> Float[Array, "..."]:
        """X with units dropped in training; X itself in evaluation."""
        if self.deterministic:
            return X
        key, rate = self.rngs(), self.rate[...]

        def drop(X):
            kept = jax.random.bernoulli(key, 1.0 - rate, X.shape)
            return jnp.where(kept, X / (1.0 - rate).astype(X.dtype), jnp.zeros_like(X))

        # A network alone draws no masks at rate 0. In an ensemble under vmap all are drawn, and 1 - 0 keeps every unit.
        return jax.lax.cond(rate > 0.0, drop, lambda X: X, X)


def batch_normalization(n_features: int, *, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Batch norm whose running statistics follow within some twenty steps: short trainings have few of them."""
    return nnx.BatchNorm(n_features, momentum=0.9, rngs=rngs)


class Convolution(nnx.Module):
    """3 x 3 convolution, zero padded to the same height and width: nine shifted images times one matrix.

    y[i, j] = b + sum_{u, v} x[i + u - 1, j + v - 1] K[u, v], so with the nine shifts side by side as 9 c channels it is
    one matrix product. XLA's own convolution is many times slower on a CPU inside a loop, and under `jax.vmap` over
    kernels (jax issue 12868); the product is not. Parameters and their initial values are those of
    `nnx.Conv(n_inputs, n_outputs, (3, 3))`.

    Args:
        n_inputs: channels in.
        n_outputs: channels out.
        rngs: where the initial weights are drawn from.
    """

    def __init__(self, n_inputs: int, n_outputs: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (3, 3, n_inputs, n_outputs)))
        self.bias = nnx.Param(nnx.initializers.zeros(rngs.params(), (n_outputs,)))

    def __call__(self, X: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """Convolve images (n, h, w, n_inputs)."""
        n, h, w, c = X.shape
        padded = jnp.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifts = jnp.concatenate([padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=-1)
        product = shifts.reshape(n * h * w, 9 * c) @ self.kernel[...].reshape(9 * c, -1)
        return (product + self.bias[...][None]).reshape(n, h, w, -1)


def max_pool(X: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Largest of each 2 x 2 square; an odd last row or column is left out, as with padding "VALID"."""
    squares = _squares(X)
    # Two maxima of two, rather than a reduction: its gradient is much cheaper.
    rows = jnp.maximum(squares[:, :, 0], squares[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


def mean_pool(X: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Mean of each 2 x 2 square; an odd last row or column is left out, as with padding "VALID"."""
    return _squares(X).mean(axis=(2, 4))


def _squares(X: Float[Array, "n h w c"]) -> Float[Array, "n h//2 2 w//2 2 c"]:
    n, h, w, c = X.shape
    return X[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
