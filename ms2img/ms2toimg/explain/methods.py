"""The ways to share out a score among pixels; a module that imports nothing, for the command line's help.

Every method compares the image with a black one, the image of a run in which nothing was found, so that a black pixel
gets nothing and what is lit is held responsible.

* ``integrated-gradients`` (Sundararajan, Taly and Yan 2017): the gradient's mean on the straight way from black to the
  image, times the pixel. *Complete*: the pixels add up to the difference of the two logits.
* ``gradient-x-input``: the gradient at the image alone, times the pixel; complete for a linear model only.
* ``occlusion``: the change of the logit when one lit pixel is made black; complete for a linear model only.

DeepLift is not among them: captum's needs every ReLU and pool as a module of its own, and this network calls functions.
"""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["integrated-gradients", "gradient-x-input", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
