"""Conversion factors: the only file that holds them.

Inside the package everything is SI (seconds, joules, bytes) and grams of CO2-equivalent; these factors are
applied once, where a number enters or leaves, and the name changes with the unit.
"""

from __future__ import annotations

from typing import Final

S_PER_MIN: Final = 60.0
S_PER_HOUR: Final = 3600.0
S_PER_NS: Final = 1e-9
MHZ_PER_HZ: Final = 1e-6
HOURS_PER_YEAR: Final = 8760.0
"""The paper's year: its six embodied shares (section 3.2) follow only from 365 days of 24 h."""
S_PER_YEAR: Final = HOURS_PER_YEAR * S_PER_HOUR

J_PER_KWH: Final = 3.6e6
J_PER_MJ: Final = 1e-3
"""Joules per *milli*joule, the unit of NVML's energy counter."""
J_PER_UJ: Final = 1e-6
"""Joules per microjoule, the unit of RAPL's energy files."""
W_PER_MW: Final = 1e-3
"""Watts per *milli*watt, the unit of NVML's power readings."""

G_PER_KG: Final = 1000.0
CM2_PER_MM2: Final = 0.01

BYTES_PER_MB: Final = 1e6
BYTES_PER_GB: Final = 1e9
BYTES_PER_GIB: Final = float(2**30)
BYTES_PER_MIB: Final = float(2**20)

TOKENS_PER_KILO: Final = 1000.0
