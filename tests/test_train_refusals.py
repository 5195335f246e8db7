"""What a training refuses before any work: neither Ray nor the tracking store has been touched."""

from __future__ import annotations

from pathlib import Path

import pytest
import sweeps

from ms2img.errors import UsageError
from pipelines.train import TrainConfig, train


def test_images_too_small_for_the_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    options = sweeps.study(tmp_path / "study")
    del options["space"]
    with pytest.raises(UsageError, match="images of 6x5 are too small for 3 convolutions"):
        train(TrainConfig(**options), quiet=True)
    assert not (tmp_path / "mlflow.db").exists()
