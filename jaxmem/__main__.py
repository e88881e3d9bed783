"""`python -m jaxmem` is `jaxmem`."""

import sys

from jaxmem.cli import main

sys.exit(main())
