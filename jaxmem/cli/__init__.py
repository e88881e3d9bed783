"""The command line: `jaxmem run`, `test`, `study NAME`, `merge`, `report`, and more; `jaxmem --help` lists them."""

from jaxmem.cli.program import main, program

__all__ = ["main", "program"]
