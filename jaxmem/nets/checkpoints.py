"""Trainings that are taken up again: after every kept epoch, all that the next epoch needs goes to a folder.

An epoch is a function of the state, the moments and its own key (`jaxmem.nets.epoch`), so a training that goes on
from what was saved ends with the very numbers of one that was never interrupted. Orbax writes each checkpoint
beside its place and renames it when it is whole: a process killed at any moment leaves whole checkpoints only.

Each carries a description of the training that made it, and a digest of what it holds. One that another training
made, or that was damaged, is refused and left as it is.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxmem.digests import described, digest

__all__ = ["Checkpoints", "Progress", "fingerprint"]


class Progress(NamedTuple):
    """Where a training stands after an epoch, beside the networks themselves."""

    optimizer_state: PyTree
    loss: np.ndarray  # (epochs so far,) or (members, epochs so far)
    accuracy: np.ndarray


class Checkpoints:
    """The checkpoints of one training in a folder, one for each kept epoch from 1.

    Each holds the networks and AdamW's two moments, so about three times the size of the parameters.

    Args:
        folder: where they are; made if need be.
        training: what the training is, in words and digests; see `fingerprint`.
    """

    def __init__(self, folder: str | os.PathLike[str], training: dict[str, str]):
        self.folder = Path(folder).expanduser().absolute()
        self.training = training

    def save(self, epoch: int, state: PyTree, progress: Progress) -> None:
        """Add the checkpoint of an epoch, and return when it is on disk."""
        from orbax.checkpoint import args

        items = {"state": _arrays(state), "progress": _arrays(progress)}
        about = {"training": self.training, **{name: digest(arrays) for name, arrays in items.items()}}
        saved = {name: args.StandardSave(arrays) for name, arrays in items.items()}
        with self._manager() as manager:
            manager.save(epoch, args=args.Composite(about=args.JsonSave(about), **saved))

    def load(self, state: PyTree, optimizer_state: PyTree) -> tuple[dict[int, PyTree], Progress] | None:
        """The networks of every epoch in the folder, and where the last of them stood; None if there are none.

        Args:
            state: the initial networks, for the structure.
            optimizer_state: the initial moments, likewise.

        Raises:
            ValueError: if a checkpoint was made by another training, or cannot be read.
        """
        with self._manager() as manager:
            epochs = sorted(manager.all_steps())
            if not epochs:
                return None
            states = {epoch: self._item(manager, epoch, "state", state) for epoch in epochs}
            like = Progress(optimizer_state, np.zeros(0), np.zeros(0))
            return states, self._item(manager, epochs[-1], "progress", like)

    def _item(self, manager, epoch: int, name: str, like: PyTree) -> PyTree:
        from orbax.checkpoint import args

        try:
            about = manager.restore(epoch, args=args.Composite(about=args.JsonRestore())).about
            made_by = dict(about["training"])
        except Exception as error:
            raise self._unreadable(epoch, error) from error
        if others := [key for key in {**self.training, **made_by} if made_by.get(key) != self.training.get(key)]:
            raise ValueError(
                f"The checkpoint of epoch {epoch} in {self.folder} is of another training: it differs in "
                f"{', '.join(others)}. It was left as it is. Train with the arguments that made it, or name another "
                "folder."
            )
        try:
            arrays = manager.restore(epoch, args=args.Composite(**{name: args.StandardRestore()}))[name]
            if digest(arrays) != about[name]:
                raise ValueError("its digest does not fit its content")
            return _like(like, arrays)
        except Exception as error:
            raise self._unreadable(epoch, error) from error

    def _unreadable(self, epoch: int, error: Exception) -> ValueError:
        return ValueError(
            f"The checkpoint of epoch {epoch} in {self.folder} cannot be read: {error!r}. It was left as it is. Remove "
            f"{self.folder / str(epoch)} and all later ones to go on from the epoch before, or name another folder."
        )

    def _manager(self):
        # Within functions only: the import takes seconds.
        from orbax.checkpoint import CheckpointManager, CheckpointManagerOptions

        return CheckpointManager(self.folder, options=CheckpointManagerOptions(enable_async_checkpointing=False))


def fingerprint(config: Any, graphdef: Any, **arrays: PyTree) -> dict[str, str]:
    """What makes a training this one: its configuration, the structure of its networks, and digests of its arrays."""
    structure = hashlib.sha256(described(graphdef).encode()).hexdigest()
    digests = {name: digest(tree) for name, tree in arrays.items()}
    return {"config": described(config), "structure": structure, **digests}


def _numpy(leaf: Any) -> np.ndarray:
    """A leaf as a NumPy array; of a JAX key its words."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _arrays(tree: PyTree) -> dict[str, np.ndarray]:
    """All arrays of a tree under their numbers: a checkpoint knows nothing of Flax's or Optax's types."""
    return {str(number): _numpy(leaf) for number, leaf in enumerate(jax.tree.leaves(tree))}


def _like(tree: PyTree, arrays: dict[str, np.ndarray]) -> PyTree:
    """The tree again, with other arrays; what was NumPy's stays NumPy's."""

    def restored(number: int, leaf: Any) -> Any:
        array = arrays[str(number)]
        if _is_key(leaf):
            return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
        return jnp.asarray(array) if isinstance(leaf, jax.Array) else array

    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([restored(number, leaf) for number, leaf in enumerate(leaves)])
