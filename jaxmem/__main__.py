"""`python -m jaxmem` is `jaxmem`."""

from jaxmem.cli import program

program()
