"""The network's logit shared out among the pixels of one image, by captum.

`methods` says which there are and what each does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ms2img.errors import UsageError
from ms2img.learn.batches import as_input
from ms2img.learn.hardware import torch_threads
from ms2img.ms2toimg.explain.methods import Method
from ms2img.ms2toimg.intensities import Floats
from ms2img.ms2toimg.resize import Bytes

STEPS = 64  # points on the way from black to the image (ours)
MAX_STEPS = 1024  # doubled up to here until complete (ours)
TOLERANCE = 0.01  # of the difference of the logits, that may be missing from the sum (ours)
ABSOLUTE_TOLERANCE = 1e-3  # ... or of a logit, where the difference is near 0 (ours)
AT_ONCE = 16  # images in memory at a time: the paper's network holds some 10 MB of activations for each


@dataclass(frozen=True, eq=False)
class Attribution:
    """`pixels` [height, width], in units of the logit; the logits of the image and of the black one.

    `steps` is how finely the way between them was divided, 0 where a method takes none.
    """

    pixels: Floats
    logit: float
    black_logit: float
    steps: int

    @property
    def rest(self) -> float:
        """What the pixels leave unexplained of the logits' difference."""
        return self.logit - self.black_logit - float(self.pixels.sum())

    @property
    def is_complete(self) -> bool:
        """Whether the rest is within the tolerance."""
        return self.allows(self.rest)

    def allows(self, rest: float) -> bool:
        """Whether so much, in units of the logit, may be missing from a sum that is called complete."""
        return abs(rest) <= max(TOLERANCE * abs(self.logit - self.black_logit), ABSOLUTE_TOLERANCE)


def require_captum() -> None:
    """Raise `UsageError` with the remedy when captum is not installed."""
    try:
        import captum.attr  # noqa: F401
    except ImportError:
        raise UsageError("explain: captum is not installed; remedy: pip install 'ms2img[explain]'") from None


def attribute(network: nn.Module, image: Bytes, method: Method = "integrated-gradients") -> Attribution:
    """Share out the logit of one image, uint8 [height, width], among its pixels.

    In float32 on one thread, as the score itself is computed. Integrated gradients take ever smaller steps until they
    are complete or `MAX_STEPS` is reached; what is missing is in `Attribution.rest`.
    Raises `UsageError` without captum.
    """
    require_captum()
    network.eval()
    with torch_threads(1):
        x = as_input(torch.from_numpy(np.array(image[None])))
        black = torch.zeros_like(x)
        with torch.inference_mode():
            logit, black_logit = (float(network(each)[0]) for each in (x, black))
        if method != "integrated-gradients":
            by = _gradient_x_input if method == "gradient-x-input" else _occlusion
            return Attribution(_lit(by(network, x), image), logit, black_logit, 0)
        steps = STEPS
        while True:
            found = Attribution(_lit(_integrated(network, x, black, steps), image), logit, black_logit, steps)
            if found.is_complete or steps >= MAX_STEPS:
                return found
            steps *= 2


def _integrated(network: nn.Module, x: Tensor, black: Tensor, steps: int) -> Tensor:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(network, multiply_by_inputs=True)
    return method.attribute(x, black, n_steps=steps, method="riemann_middle", internal_batch_size=AT_ONCE)


def _gradient_x_input(network: nn.Module, x: Tensor) -> Tensor:
    from captum.attr import InputXGradient

    return InputXGradient(network).attribute(x.clone().requires_grad_())


def _occlusion(network: nn.Module, x: Tensor) -> Tensor:
    """Every lit pixel is a feature of its own; the black ones are one, which changes nothing."""
    from captum.attr import FeatureAblation

    lit = x > 0
    feature = torch.where(lit, lit.flatten().cumsum(0).reshape(x.shape), 0)
    with torch.inference_mode():
        return FeatureAblation(network).attribute(x, 0.0, feature_mask=feature, perturbations_per_eval=AT_ONCE)


def _lit(attribution: Tensor, image: npt.NDArray[np.uint8]) -> Floats:
    """As float64 [height, width], 0 where the image is black.

    There a gradient times nothing is 0 by definition, and by arithmetic too unless the network's ``input_gamma`` below
    1 makes the gradient infinite.
    """
    return np.where(image > 0, attribution.detach()[0, 0].double().numpy(), 0.0)
