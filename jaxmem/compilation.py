"""Keep compiled programs between processes: the second run of a notebook or a script need not compile again."""

import os
from pathlib import Path

import jax

__all__ = ["enable_compilation_cache"]


def enable_compilation_cache(folder: str | os.PathLike[str] | None = None) -> Path:
    """Switch on JAX's persistent compilation cache, for every program and not only for slow ones.

    Args:
        folder: where to keep them; None: $JAX_COMPILATION_CACHE_DIR, or else ~/.cache/jaxmem/compiled.

    Returns:
        The folder.

    Example:
        >>> import tempfile
        >>> import jaxmem as jm
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jm.enable_compilation_cache(folder).name == folder.rpartition("/")[2]
        True
    """
    default = os.environ.get("JAX_COMPILATION_CACHE_DIR") or "~/.cache/jaxmem/compiled"
    folder = Path(folder or default).expanduser()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # JAX's defaults leave out whatever compiles in less than a second: nearly everything here.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder
