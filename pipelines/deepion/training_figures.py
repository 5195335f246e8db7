"""Pictures that are kept with the run of a training: its curves, and what the encoder was shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator

from ms2img.deepion.draws import Draws
from ms2img.deepion.objective import COLLAPSED, SPREAD
from pipelines.figures_style import MUTED, PREDICTED, REAL, new_figure, plain, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ms2img.deepion.augment import MsiViews
    from ms2img.deepion.images import IonImages
    from pipelines.deepion.encoder_training import EncoderSeed

SHOWN = 6  # ions whose views are drawn (ours)
_SEED, _EPOCH = 0, 1  # of the views that are drawn


def curves(seeds: Sequence[EncoderSeed]) -> bytes:
    """PNG of loss and spread over the epochs, a line a seed."""
    figure = new_figure(8.0, 3.0)
    left, right = figure.subplots(1, 2)
    for each in seeds:
        epochs = [row["epoch"] for row in each.history]
        for axes, name, colour in ((left, "train_loss", REAL), (right, SPREAD, PREDICTED)):
            axes.plot(epochs, [row[name] for row in each.history], color=colour, alpha=0.8, linewidth=1.2)
    left.set_ylabel("loss: mean negative cosine of views")
    right.set_ylabel("spread of the embeddings")
    right.set_ylim(bottom=0)
    right.axhline(COLLAPSED, color=MUTED, linestyle=":", linewidth=1)
    right.text(1, COLLAPSED, " collapsed below", color=MUTED, fontsize=7, va="bottom")
    for axes in (left, right):
        axes.set_xlabel(f"epoch ({len(seeds)} seeds)" if len(seeds) > 1 else "epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        plain(axes)
    return png(figure)


def views(ions: IonImages, of: MsiViews) -> bytes:
    """PNG of some ions, evenly spaced in intensity: as measured, and two views of each as the training draws them."""
    ranked = np.argsort(-ions.intensity, kind="stable")
    rows = ranked[np.unique(np.linspace(0, len(ranked) - 1, SHOWN).astype(int))]
    images = torch.tensor(ions.images[rows]).unsqueeze(1)
    streams = [Draws.of(rows, seed=_SEED, epoch=_EPOCH, view=number, device=images.device) for number in (0, 1)]
    seen = [of.view(images, draws) for draws in streams]
    figure = new_figure(1.4 * len(rows), 4.6)
    grid = figure.subplots(3, len(rows), squeeze=False)
    for line, (title, shown) in enumerate(zip(("measured", "view 1", "view 2"), [images, *seen], strict=True)):
        for axes, row, image in zip(grid[line], rows, shown, strict=True):
            _draw(axes, image[0].numpy())
            if not line:
                axes.set_title(f"m/z {ions.mz[row]:.4f}", fontsize=8)
        grid[line][0].set_ylabel(title, fontsize=8)
    if ions.is_simulated:
        figure.suptitle("SIMULATED ion images", fontsize=9)
    return png(figure)


def _draw(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
