"""A search space: which hyper-parameters are tried, over which values, and the configuration of each trial.

A space is a YAML file: ``base`` (the preset for all that is not searched) and ``parameters``, a name each of a field of
the model's settings or of `FitConfig`. ``tune/spaces`` holds ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ms2img.config import load_yaml
from ms2img.errors import UsageError
from ms2img.learn.fit_config import FitConfig
from tune.family import CNN, Family, names
from tune.parameter import Parameter, read_parameter

FOLDER = Path(__file__).parent / "spaces"
KEYS = ("base", "parameters")


@dataclass(frozen=True)
class Space:
    """What a sweep chooses from.

    `name`: that of one of ours, or the file's; `base`: a preset of the `family`, the kind of model that is searched.
    """

    name: str
    base: str
    parameters: Mapping[str, Parameter]
    family: Family = CNN

    @classmethod
    def load(cls, name_or_path: str, family: Family = CNN) -> Self:
        """One of our spaces by name, or a YAML file. Raises `UsageError` naming file, parameter and what is right."""
        if name_or_path in family.spaces:
            content = load_yaml(FOLDER / f"{name_or_path}.yaml")
            return cls.parse(name_or_path, content, source=f"space {name_or_path}", family=family)
        path = Path(name_or_path)
        if path.suffix not in (".yaml", ".yml") and not path.is_file():
            near = difflib.get_close_matches(name_or_path, family.spaces, n=1, cutoff=0.0)[0]
            known = ", ".join(family.spaces)
            raise UsageError(f"space '{name_or_path}': neither one of {known} nor a YAML file; did you mean '{near}'?")
        return cls.parse(path.name, load_yaml(path), source=name_or_path, family=family)

    @classmethod
    def parse(cls, name: str, content: Mapping[str, Any], *, source: str, family: Family = CNN) -> Self:
        """The space that the content of a file describes; `source` names the file in a `UsageError`."""
        for key in content:
            _require_known(key, KEYS, f"{source}: unknown key")
        base = content.get("base", next(iter(family.presets)))
        if base not in list(family.presets):
            raise UsageError(f"{source}: base: {base!r}; expected one of {', '.join(family.presets)}")
        told = content.get("parameters")
        if not isinstance(told, Mapping) or not told:
            raise UsageError(
                f"{source}: parameters: {told!r}; expected one or more, as in 'filters: {{int: [16, 64]}}'"
            )
        parameters = {}
        for parameter, description in told.items():
            if parameter in family.fixed:
                raise UsageError(f"{source}: {parameter}: is the same for all trials of a sweep, so it is not searched")
            _require_known(parameter, family.searchable(), f"{source}: unknown parameter")
            try:
                parameters[parameter] = read_parameter(description)
            except UsageError as error:
                raise UsageError(f"{source}: {parameter}: {error}") from None
        space = cls(name, base, parameters, family)
        space._require_accepted(source)
        return space

    def sample(self, seed: int, trial: int) -> dict[str, Any]:
        """The values of a trial (from 0) under random search: a function of `seed`, `trial` and the space alone.

        The order of the parameters in the file plays no part.
        """
        uniform = np.random.default_rng(np.random.SeedSequence((seed, trial))).random(len(self.parameters))
        drawn = dict(zip(sorted(self.parameters), uniform.tolist(), strict=True))
        return {name: parameter.draw(drawn[name]) for name, parameter in self.parameters.items()}

    def exact(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a searcher proposed, as the space's own values, see `Parameter.exact`."""
        return {name: parameter.exact(values[name]) for name, parameter in self.parameters.items()}

    def configure(
        self,
        values: Mapping[str, Any],
        *,
        epochs: int | None = None,
        seed: int = 0,
        threads: int | None = None,
        precision: str = "auto",
        device: str = "auto",
    ) -> tuple[Any, FitConfig]:
        """Model and training of a trial: the base preset with `values`, and what all trials share.

        The model's settings are of the family's own class. `epochs`: None for the preset's. Raises `UsageError` for a
        value the settings refuse.
        """
        model, fit = self.family.presets[self.base]
        of_model, of_training = names(model), names(fit)
        return (
            replace(model, **{name: value for name, value in values.items() if name in of_model}),
            replace(
                fit,
                epochs=epochs if epochs is not None else fit.epochs,
                patience=fit.patience if self.family.patience else None,
                seed=seed,
                threads=threads,
                precision=precision,
                device=device,
                **{name: value for name, value in values.items() if name in of_training},
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; without ``name`` it is what `parse` takes."""
        return {
            "name": self.name,
            "base": self.base,
            "parameters": {name: parameter.to_dict() for name, parameter in self.parameters.items()},
        }

    def to_ray(self) -> dict[str, Any]:
        """The same space as domains of ``ray.tune``, for its searchers; what they propose goes through `exact`."""
        return {name: parameter.to_ray() for name, parameter in self.parameters.items()}

    def _require_accepted(self, source: str) -> None:
        """Refuse values that the configs refuse, now and not at the trial that draws them."""
        for name, parameter in self.parameters.items():
            for corner in parameter.corners():
                try:
                    self.configure({name: corner})
                except UsageError as error:
                    raise UsageError(f"{source}: {error!s}") from None  # it begins with the name


def _require_known(key: Any, known: Iterable[str], what: str) -> None:
    known = list(known)
    if key not in known:
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
        raise UsageError(f"{what} '{key}'; did you mean '{near}'?")
