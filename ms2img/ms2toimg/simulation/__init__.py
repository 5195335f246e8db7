"""A simulated study: real molecules, a plausible plant collection, four assays and the instrument that looks at them.

What this room writes is always labelled simulated. The chain, one module each: `compounds` (molecules) -> `fragments`
(their MS/MS) -> `composition` (how much of each in an accession) -> `assays` (what that does) -> `injections` and
`acquisition` (what the instrument records) -> `write` (files) -> `study` (all of it, committed as one folder).
None of it is from the MS2toImg paper, whose data are not public: every constant here is ours.
"""

from ms2img.ms2toimg.simulation.config import SimulationConfig
from ms2img.ms2toimg.simulation.study import StudySummary, write_study

__all__ = ["SimulationConfig", "StudySummary", "write_study"]
