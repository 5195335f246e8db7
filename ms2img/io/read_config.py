"""Every choice that decides what a run's spectra table holds, as one typed and closed configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ms2img.config import Config


class ReadOptions(Config):
    """How the spectra of one run are read. All of it is ours: the paper starts from tables that MS-DIAL exported.

    The MS1 window's default: of the precursors of three real runs whose files state intensities, 30 ppm finds 99.8 % of
    the MS1 peaks (time-of-flight and Orbitrap), 20 ppm only 81 % of those of the time-of-flight run.
    """

    ms1_window_ppm: float = Field(
        default=30.0,
        gt=0,
        description="mzML, mzXML: where a scan does not state its precursor's intensity, it is that of the highest "
        "peak within this of the precursor's m/z in the nearest MS1 scan, ppm",
    )
    profile_msms: Literal["centroid", "refuse"] = Field(
        default="centroid", description="mzML, mzXML: MS/MS in profile mode is centroided, or the run is refused"
    )
    dia_isolation_mz: float = Field(
        default=10.0,
        gt=0,
        description="mzML, mzXML: a run that isolates wider windows than this in most MS/MS scans is DIA and refused, "
        "m/z (DDA isolates 0.4 to 9, SWATH 20 to 25)",
    )
    polarity: Literal["single", "positive", "negative"] = Field(
        default="single",
        description="single: a run with MS/MS of both polarities is refused; positive, negative: the MS/MS of this "
        "polarity (and what states none)",
    )
    merge_mz: float = Field(
        default=0.0,
        ge=0,
        description="repeated MS/MS of one precursor within this m/z and merge_rt_seconds become one, the scan with "
        "the highest precursor intensity; 0 keeps all",
    )
    merge_rt_seconds: float = Field(
        default=30.0, ge=0, description="see merge_mz: how far apart repeated scans of one precursor may be, seconds"
    )
