"""Work shared out among devices: one program, of which each device runs a part of the batch, or has a part of the rows.

A mesh has two axes. Along "permutations", devices hold the same features and a part of the batch each, and run for it
the very program that a single device would run: nothing is ever sent from one to another. Along "rows", devices have
the same part of the batch and rows of their own: what is summed over rows is added up between them, and all else stays
where the rows are. A permutation has the same labels and counts wherever it is computed. Sums of floats may round
differently, as they do in batches of another size.

The devices may be those of several processes (`jax.distributed`). All of them then make the same calls and get the same
results; the process of the first device is the one that writes files and speaks.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

__all__ = [
    "ROWS",
    "Block",
    "agreed",
    "by_all",
    "fetched",
    "leads",
    "mesh_of",
    "n_devices",
    "n_parts",
    "on_all",
    "over_rows",
    "preempted",
    "several_processes",
    "shared_out",
    "wait_for_all",
]

PERMUTATIONS, ROWS = "permutations", "rows"
_AXES = (PERMUTATIONS, ROWS)

# So many bytes of an error are told to other processes.
_LONGEST = 1_000

AnswerT = TypeVar("AnswerT")


def mesh_of(devices: Sequence[Any] | Mesh | None) -> Mesh | None:
    """The mesh of devices that share the work; None where they are but the one on which JAX computes anyway.

    Args:
        devices: JAX devices of one kind, along "permutations"; a mesh whose axes are "permutations", "rows" or both;
            None: all that this process has, or the one that `jax.default_device` names.

    Raises:
        ValueError: an empty list, no devices, devices of several kinds, one of them twice, an array of them, other
            axes, or none of this process's.
    """
    if devices is None:
        chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
        devices = jax.local_devices() if chosen is None else []
        return None if len(devices) < 2 else _mesh(devices)
    if isinstance(devices, Mesh):
        mesh = _with_both_axes(devices)
    elif not isinstance(devices, Sequence) or not devices or not all(isinstance(one, jax.Device) for one in devices):
        raise ValueError(
            "devices must be a list of JAX devices, jax.devices()[:2] say, or a mesh with axes 'permutations' and "
            f"'rows', but is {devices!r}. Of an array of devices take list(devices.flat)."
        )
    else:
        if len(set(devices)) < len(devices):
            raise ValueError(f"devices must be of one kind, each of them once, but are {devices!r}.")
        mesh = _mesh(devices)
    if len({device.device_kind for device in mesh.devices.flat}) > 1:
        raise ValueError(f"devices must be of one kind, each of them once, but are {list(mesh.devices.flat)!r}.")
    if all(device.process_index != jax.process_index() for device in mesh.devices.flat):
        raise ValueError(
            f"devices are those of other processes, but this is process {jax.process_index()}, whose own are "
            f"{jax.local_devices()}: only processes that have some of them may call."
        )
    return mesh


def _mesh(devices: Sequence[Any]) -> Mesh:
    return jax.make_mesh((len(devices), 1), _AXES, (AxisType.Auto,) * 2, devices=devices)


def _with_both_axes(mesh: Mesh) -> Mesh:
    if not set(mesh.axis_names) <= set(_AXES):
        raise ValueError(
            f"the axes of a mesh for devices are 'permutations' and 'rows', one or both, but are {mesh.axis_names}: "
            'jax.make_mesh((2, 4), ("permutations", "rows")) say.'
        )
    order = [mesh.axis_names.index(name) for name in _AXES if name in mesh.axis_names]
    shape = [mesh.shape.get(name, 1) for name in _AXES]
    return Mesh(mesh.devices.transpose(order).reshape(shape), _AXES, (AxisType.Auto,) * 2)


def n_devices(mesh: Mesh | None) -> int:
    """How many devices share the work."""
    return 1 if mesh is None else mesh.size


def n_parts(mesh: Mesh | None) -> int:
    """Into how many parts the rows are divided."""
    return 1 if mesh is None else mesh.shape[ROWS]


def several_processes(mesh: Mesh | None) -> bool:
    """Whether some of the devices are another process's."""
    return mesh is not None and mesh.is_multi_process


def leads(mesh: Mesh | None) -> bool:
    """Whether this process is the one that writes files and speaks."""
    return mesh is None or mesh.devices.flat[0].process_index == jax.process_index()


def agreed(number: int, mesh: Mesh) -> bool:
    """Whether all processes call this with the same number."""
    return bool((_of_all(np.array([number], np.int32), mesh) == number).all())


def differing(digests: Mapping[str, str], mesh: Mesh) -> list[str]:
    """Under which names not all processes have the same digest, which all of them are told."""
    every = _of_all(np.array([int(text[:7], 16) for text in digests.values()], np.int32), mesh)
    return [name for name, numbers in zip(digests, every.T, strict=True) if len(set(numbers.tolist())) > 1]


def wait_for_all(mesh: Mesh | None) -> None:
    """Wait until all processes have come here."""
    if mesh is not None and several_processes(mesh):
        agreed(0, mesh)


def by_all(ask: Callable[[], AnswerT], mesh: Mesh | None) -> AnswerT:
    """What `ask` returns, if it does in every process: where it raises in one of them, all raise.

    For what one process may find that the others do not: its files, and what is in them. Raised by one alone, it would
    leave the others waiting for it.

    Args:
        ask: may call what all processes have to call, if all of them do so before any raises.
        mesh: the devices.

    Raises:
        Exception: what `ask` raised here.
        ValueError: what it raised in another process.
    """
    if mesh is None or not several_processes(mesh):
        return ask()
    answer: Any = None
    error, words = None, b""
    try:
        answer = ask()
    except Exception as raised:
        error, words = raised, (str(raised) or type(raised).__name__).encode(errors="replace")[:_LONGEST]
    errors = _of_all(np.frombuffer(words.ljust(_LONGEST, b"\0"), np.uint8), mesh)
    if error is not None:
        raise error
    for device, row in zip(mesh.devices.flat, errors, strict=True):
        if row.any():
            said = row.tobytes().rstrip(b"\0").decode(errors="ignore")
            raise ValueError(f"Process {device.process_index} cannot go on, and so none of them can: {said}")
    return answer


def _of_all(row: np.ndarray, mesh: Mesh) -> np.ndarray:
    """The row that the process of each device has, shape (devices, k)."""
    every = NamedSharding(mesh, PartitionSpec(_AXES))
    return fetched(jax.make_array_from_callback((mesh.size, len(row)), every, lambda _: row[None]))


# The runtime asks for a number that grows from one call to the next, the same in all processes.
_calls = itertools.count(1)


def preempted(mesh: Mesh | None) -> bool:
    """Whether any of several processes was sent SIGTERM, which all of them are told at the same call.

    Where the runtime's service for that is switched off (`jax_enable_preemption_service`), no.
    """
    if not (several_processes(mesh) and jax.config.jax_enable_preemption_service):  # pyright: ignore
        return False
    return multihost_utils.reached_preemption_sync_point(next(_calls))


def on_all(tree: Any, mesh: Mesh | None) -> Any:
    """The arrays of a tree on every device, as a whole."""
    if mesh is None:
        return tree
    everywhere = NamedSharding(mesh, PartitionSpec())

    def place(leaf: Any) -> Any:
        if not several_processes(mesh) or (isinstance(leaf, jax.Array) and not leaf.is_fully_addressable):
            return jax.device_put(leaf, everywhere)
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        # Every process has the same, and gives it to its own devices.
        own = np.asarray(leaf)
        return jax.make_array_from_callback(own.shape, everywhere, lambda index: own[index])

    return jax.tree.map(place, tree)


def fetched(tree: Any) -> Any:
    """The arrays of a tree as NumPy's, whole; all processes that have parts of them have to call this."""

    def whole(leaf: Any) -> Any:
        elsewhere = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
        return multihost_utils.process_allgather(leaf, tiled=True) if elsewhere else leaf

    return jax.device_get(jax.tree.map(whole, tree))


def shared_out(function: Callable[[Any, Any], Any], mesh: Mesh | None, whole: Any, split: Any) -> Any:
    """`function(whole, split)`, computed by parts: traced once, for the part of one device.

    Args:
        function: returns arrays whose leading axis is that of `split`, or one entry a device.
        mesh: the devices; all of them take a part, whichever axis they lie along.
        whole: arrays that every device needs as they are.
        split: arrays whose leading axis is shared out; the number of devices divides it.

    Returns:
        What the devices return, one part after the other along the leading axis; devices with other rows but the same
        part of the batch have it all.
    """
    if mesh is None:
        return function(whole, split)
    parts = PartitionSpec(_AXES)
    # What varies between devices is not tracked: within the function no device hears of another.
    shared = jax.shard_map(function, mesh=mesh, in_specs=(PartitionSpec(), parts), out_specs=parts, check_vma=False)
    result = shared(whole, split)
    if n_parts(mesh) > 1:
        result = jax.lax.with_sharding_constraint(result, NamedSharding(mesh, PartitionSpec(PERMUTATIONS)))
    return result


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Block:
    """Rows that are worked on at once.

    Attributes:
        rows: a pytree whose leaves have rows in front.
        start: the number of the first.
        divided: whether they lie along the axis "rows", or every device has all of them.
    """

    rows: Any
    start: Any
    divided: bool = field(default=False, metadata={"static": True})


def over_rows(
    function: Callable[..., tuple[Any, Any]], mesh: Mesh | None, block: Block, whole: Any, split: Any
) -> tuple[Any, Any]:
    """`function(rows, start, whole, split)` by parts of the batch and of the rows.

    Args:
        function: told some rows and the number of the first, returns `(sums, of_rows)`: the first is summed over all
            rows, the second has the rows as its second axis. The leading axis of either is that of `split`, or one
            entry a part of it.
        mesh: the devices.
        block: the rows.
        whole: arrays that every device needs as they are.
        split: arrays whose leading axis is shared out along "permutations".
    """
    if mesh is None:
        return function(block.rows, block.start, whole, split)

    def part(block: Block, whole: Any, split: Any) -> tuple[Any, Any]:
        if not block.divided:
            return function(block.rows, block.start, whole, split)
        before = jax.lax.axis_index(ROWS) * jax.tree.leaves(block.rows)[0].shape[0]
        sums, of_rows = function(block.rows, block.start + before, whole, split)
        return jax.lax.psum(sums, ROWS), of_rows

    rows = ROWS if block.divided else None
    blocks = Block(PartitionSpec(rows), PartitionSpec(), block.divided)
    return jax.shard_map(
        part,
        mesh=mesh,
        in_specs=(blocks, PartitionSpec(), PartitionSpec(PERMUTATIONS)),
        out_specs=(PartitionSpec(PERMUTATIONS), PartitionSpec(PERMUTATIONS, rows)),
        check_vma=False,
    )(block, whole, split)
