"""What the studies say of the embedded digits, as they stand: every claim, what came of it, and its figures."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jaxmem.studies import STUDIES, Record, run


def outcomes(names: Sequence[str] = tuple(STUDIES), **changes: Any) -> dict[str, dict[str, Any]]:
    """Seconds and claims of each study, with changes to its default options: an hour on two cores without any."""
    found = {}
    for name in names:
        start = time.perf_counter()
        record = run(STUDIES[name], replace(STUDIES[name].config(), **changes), progress=False)
        found[name] = {"seconds": time.perf_counter() - start, "claims": as_figures(record)}
    return found


def as_figures(record: Record) -> dict[str, dict[str, Any]]:
    """What came out, by sentence."""
    return {claim.text: {"outcome": claim.outcome, "seen": claim.seen} for claim in record.claims}
