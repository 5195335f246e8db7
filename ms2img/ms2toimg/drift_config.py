"""What a simulated drift changes, as one typed and closed configuration."""

from __future__ import annotations

from pydantic import Field

from ms2img.config import Config


class Drift(Config):
    """How spectra are changed; the defaults change nothing. All of it is ours: the paper runs no such experiment."""

    mz_ppm: float = Field(
        default=0.0, ge=-1000, le=1000, description="calibration error, the same for every m/z of every run, ppm"
    )
    mz_da: float = Field(default=0.0, ge=-1, le=1, description="calibration error, the same for every m/z, Da / charge")
    mz_noise_ppm: float = Field(
        default=0.0, ge=0, le=1000, description="random m/z error: standard deviation over peaks and precursors, ppm"
    )
    intensity_scale: float = Field(
        default=1.0,
        ge=1e-6,
        le=1e6,
        description="factor on all intensities; an image divides by the total: it is inert",
    )
    intensity_tilt: float = Field(
        default=1.0,
        ge=1e-3,
        le=1e3,
        description="response at m/z 1500 over that at m/z 100; its logarithm is linear in m/z",
    )
    missing_fragments: float = Field(
        default=0.0, ge=0, lt=1, description="share of the fragments that are lost, each by its own chance"
    )
    retention_seconds: float = Field(
        default=0.0, ge=0, description="added to every retention time, seconds; an image has no time: it is inert"
    )
    seed: int = Field(default=0, ge=0, description="seed of what is random; a run's numbers depend on it and its name")

    def drift(self) -> Drift:
        """The part of a larger config that changes spectra."""
        return Drift(**{name: getattr(self, name) for name in Drift.model_fields})

    def describe(self) -> str:
        """What is changed, for a title: ``mz_ppm 10, retention_seconds 60``; ``none`` for the defaults."""
        changed = [
            f"{name} {getattr(self, name):g}"
            for name, field in Drift.model_fields.items()
            if name != "seed" and getattr(self, name) != field.default
        ]
        if self.mz_noise_ppm or self.missing_fragments:
            changed.append(f"seed {self.seed}")
        return ", ".join(changed) or "none"
