"""The settings of the training loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from ms2img.errors import UsageError
from ms2img.learn.settings import Settings

#: Settings that came later. What is stored leaves them out where they are at their default, so that what was trained
#: before they came still has the same config, and the same fingerprint.
LATER = ("schedule", "warmup", "plateau_patience", "plateau_factor", "gradient_clip")


@dataclass(frozen=True)
class FitConfig(Settings):
    """How a model is trained; raises `UsageError` for a value out of range."""

    epochs: int = 80  # MS2toImg, Table 1
    batch_size: int = 32  # ours (Keras's default)
    learning_rate: float = 1e-4  # ours: the upper end of MS2toImg's search range
    weight_decay: float = 0.0  # decoupled, as in Keras's Adam
    adam_epsilon: float = 1e-7  # Keras's default; torch's is 1e-8
    micro_batch: int | None = None  # images at a time: a batch is summed up from such parts; None: all at once
    shift: int = 0  # pixels an image moves at most, in each direction: mass error at the edge of a bin
    drop_precursors: float = 0.0  # chance that a column is empty: data-dependent acquisition missed the precursor
    drop_pixels: float = 0.0  # chance that a pixel is empty: a fragment below the threshold
    intensity_jitter: float = 0.0  # sd of the log of a column's factor: a precursor's spectrum is weaker or stronger
    keep: str = "best"  # the weights of the "best" epoch by validation loss, or of the "last" one
    patience: int | None = None  # stop after so many epochs without a lower validation loss; None: never (the paper)
    seed: int = 0  # batch order, initial weights, dropout and augmentation
    threads: int | None = None  # CPU threads of this process; None: torch's own choice
    precision: str = "auto"  # "float32", "bfloat16", or "auto": bfloat16 where the hardware multiplies it natively
    device: str = "auto"  # "cpu", "cuda", or "auto": CUDA where there is one
    schedule: str = "constant"  # of the learning rate: "constant", "plateau" or "polynomial", see ms2img.learn.schedule
    warmup: int = 0  # epochs in which the learning rate rises linearly
    plateau_patience: int = 5  # epochs without a lower validation loss before "plateau" lowers the rate (ours)
    plateau_factor: float = 0.5  # what "plateau" multiplies the rate by (ours)
    gradient_clip: float | None = None  # longest gradient of a step, over all weights; None: as it comes

    def __post_init__(self) -> None:
        self._require_int("epochs", low=1)
        self._require_int("batch_size", low=1)
        self._require_float("learning_rate", low=0.0, high=math.inf, low_open=True)
        self._require_float("weight_decay", low=0.0, high=math.inf)
        self._require_float("adam_epsilon", low=0.0, high=math.inf, low_open=True)
        self._require_int("seed", low=0, high=2**63 - 1)
        self._require_int("shift", low=0)
        for chance in ("drop_precursors", "drop_pixels"):
            self._require_float(chance, low=0.0, high=1.0)
        self._require_float("intensity_jitter", low=0.0, high=math.inf)
        for optional in ("micro_batch", "patience", "threads"):
            if getattr(self, optional) is not None:
                self._require_int(optional, low=1)
        self._require_one_of("keep", ("best", "last"))
        if self.keep == "last" and self.patience is not None:
            raise UsageError(f"patience: {self.patience} waits for a better epoch, but keep is 'last'; expected none")
        self._require_one_of("precision", ("auto", "float32", "bfloat16"))
        self._require_one_of("schedule", ("constant", "plateau", "polynomial"))
        self._require_int("warmup", low=0)
        if self.schedule == "polynomial" and self.warmup >= self.epochs:
            raise UsageError(f"warmup: {self.warmup} of {self.epochs} epochs leave none for 'polynomial' to fall in")
        self._require_int("plateau_patience", low=0)
        self._require_float("plateau_factor", low=0.0, high=1.0, low_open=True)
        if self.gradient_clip is not None:
            self._require_float("gradient_clip", low=0.0, high=math.inf, low_open=True)
        if self.device not in ("auto", "cpu") and not self.device.startswith("cuda"):
            raise UsageError(f"device: {self.device!r}; expected one of auto, cpu, cuda, cuda:<number>")

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON; those of `LATER` only where they are not at their default."""
        default = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in super().to_dict().items() if name not in LATER or value != default[name]}
