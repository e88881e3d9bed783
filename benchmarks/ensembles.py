"""Eight networks as one ensemble, beside eight single runs of them in the same process, both warm.

The single runs share their compiled program as the ensemble's members do. `abreast` and `by turns` are the two ways to
map an epoch over the members, without all that surrounds it: `train_ensemble` takes the second on a CPU.
"""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.measure import in_turn
from jaxmem.data import load
from jaxmem.nets import MLP, TrainConfig, train, train_ensemble
from jaxmem.nets.ensemble import _epoch_keys, _initial
from jaxmem.nets.epoch import run_ensemble_epoch, run_epoch


def against_single_runs(
    members: int = 8, n: int = 4_000, widths: tuple[int, ...] = (256, 256, 64), epochs: int = 3, rounds: int = 5
) -> dict[str, Any]:
    """Seconds of the ensemble, of its single runs, and of one epoch mapped either way; seconds to compile."""
    digits = load("digits")
    X, y = jnp.asarray(digits.X_train[:n].reshape(n, -1)), jnp.asarray(digits.y_train[:n])
    keys = jax.random.split(jax.random.key(0), members)
    config = TrainConfig(epochs=epochs, keep_epochs=(epochs,))

    def make(rngs: nnx.Rngs) -> MLP:
        return MLP(X.shape[1], 10, widths=widths, rngs=rngs)

    def single_runs() -> list[Any]:
        pairs = map(jax.random.split, keys)
        return [train(make(nnx.Rngs(init)), X, y, config, key).snapshots for init, key in pairs]

    def ensemble() -> Any:
        return train_ensemble(make, X, y, config, keys).snapshots

    graphdef, state, moments, train_keys = _initial(make, keys, None)
    batch_size = min(config.batch_size, n)
    rates = (jnp.full(members, config.learning_rate), jnp.full(members, config.weight_decay))
    arrays = (state, moments, X, jnp.broadcast_to(y, (members, n)), _epoch_keys(train_keys, 1), *rates)
    member = [jax.tree.map(lambda leaf: leaf[0], part) for part in (state, moments)]
    _, one_compile = _compiled(run_epoch, (graphdef, batch_size, None), (*member, X, y, keys[0], 1e-3, 0.0))
    mapped, compiles = {}, {}
    for by_turns, name in ((True, "by turns"), (False, "abreast")):
        program, compiles[name] = _compiled(run_ensemble_epoch, (graphdef, batch_size, None, False, by_turns), arrays)
        mapped[name] = partial(program, *arrays)
    seconds = in_turn({"ensemble": ensemble, "single runs": single_runs, **mapped}, rounds)
    return {
        "ensemble_seconds": seconds["ensemble"],
        "single_runs_seconds": seconds["single runs"],
        "ensemble_over_single_runs": seconds["ensemble"] / seconds["single runs"],
        "epoch_seconds": {name: seconds[name] for name in mapped},
        "ensemble_program_compile_seconds": compiles["by turns" if jax.default_backend() == "cpu" else "abreast"],
        "single_program_compile_seconds": one_compile,
    }


def _compiled(function: Any, static: tuple, arrays: tuple) -> tuple[Any, float]:
    """The program, and the seconds of tracing and compiling it."""
    start = time.perf_counter()
    program = jax.jit(partial(function, *static)).lower(*arrays).compile()
    return program, time.perf_counter() - start
