"""Work shared out among devices: one program, of which each device runs a part of the batch.

The permutations are the one axis of a mesh. A device holds all features and a part of the batch's permutations, and
runs for them the very program that a single device would run: nothing is ever sent from one to another, so it scales
with their number, and a permutation has the same labels and counts wherever it is computed. Sums of floats may round
differently, as they do in batches of another size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

__all__ = ["mesh_of", "n_devices", "on_all", "shared_out"]

_AXIS = "permutations"


def mesh_of(devices: Sequence[Any] | None) -> Mesh | None:
    """The devices to share work out among; None where they are but the one on which JAX computes anyway.

    Args:
        devices: JAX devices of one kind; None: all that this process has, or the one that `jax.default_device` names.

    Raises:
        ValueError: an empty list, no devices, devices of several kinds, one of them twice, or an array of them.
    """
    if devices is None:
        chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
        devices = jax.local_devices() if chosen is None else []
        return None if len(devices) < 2 else _mesh(devices)
    if not isinstance(devices, Sequence) or not devices or not all(isinstance(one, jax.Device) for one in devices):
        raise ValueError(
            f"devices must be a list of JAX devices, jax.devices()[:2] say, but is {devices!r}. "
            "Of an array of devices take list(devices.flat)."
        )
    kinds = {device.device_kind for device in devices}
    if len(kinds) > 1 or len(set(devices)) < len(devices):
        raise ValueError(f"devices must be of one kind, each of them once, but are {devices!r}.")
    return _mesh(devices)


def _mesh(devices: Sequence[Any]) -> Mesh:
    return jax.make_mesh((len(devices),), (_AXIS,), (AxisType.Auto,), devices=devices)


def n_devices(mesh: Mesh | None) -> int:
    """How many devices share the work."""
    return 1 if mesh is None else mesh.size


def on_all(tree: Any, mesh: Mesh | None) -> Any:
    """The arrays of a tree on every device, as a whole."""
    return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shared_out(function: Callable[[Any, Any], Any], mesh: Mesh | None, whole: Any, split: Any) -> Any:
    """`function(whole, split)`, computed by parts: traced once, for the part of one device.

    Args:
        function: returns arrays whose leading axis is that of `split`, or one entry a device.
        mesh: the devices.
        whole: arrays that every device needs as they are.
        split: arrays whose leading axis is shared out; the number of devices divides it.

    Returns:
        What the devices return, one part after the other along the leading axis.
    """
    if mesh is None:
        return function(whole, split)
    parts = PartitionSpec(_AXIS)
    # What varies between devices is not tracked: no device ever hears of another.
    return jax.shard_map(function, mesh=mesh, in_specs=(PartitionSpec(), parts), out_specs=parts, check_vma=False)(
        whole, split
    )
