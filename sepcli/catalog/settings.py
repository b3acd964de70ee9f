"""``key=value`` words → the numbers that a dataclass of settings holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sepcli.errors import UsageError

LARGEST = 1_000_000_000
"""No setting is larger; beyond this, numbers are slips of the hand that only exhaust the memory."""

SAID: Mapping[str, bool] = {"0": False, "False": False, "1": True, "True": True}
"""What settings that are on or off may be: numbers, or truth values of a card."""


def typed(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Words to the numbers that the fields of a dataclass hold.

    Raises:
        UsageError: an unknown key, or a value that is not such a number.
    """
    known = {f.name: f.default for f in fields(kind)}
    found: dict[str, Any] = {}
    for key, value in options.items():
        if key not in known:
            raise UsageError(f"unknown setting '{key}'", f"settings here: {', '.join(known) or 'none'}")
        if isinstance(known[key], bool):
            if str(value) not in SAID:
                raise UsageError(
                    f"{key}={value} is neither 1 nor 0", f"write --set {key}=1 for yes, 0 for no"
                )
            found[key] = SAID[str(value)]
            continue
        whole = not isinstance(known[key], float)
        try:
            found[key] = int(str(value)) if whole else float(value)
        except (TypeError, ValueError):
            found[key] = math.nan
        if not math.isfinite(found[key]) or abs(found[key]) > LARGEST:
            raise UsageError(
                f"{key}={value} is not a {'whole ' if whole else ''}number up to {LARGEST:,}",
                f"write for example --set {key}={known[key] or 1}",
            )
    return found
