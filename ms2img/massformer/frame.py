"""What MLflow is given: a table of molecules and conditions in, a table with a spectrum a row out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ms2img.errors import UsageError
from ms2img.massformer.conditions import Condition
from ms2img.massformer.peaks import PeakRule, peaks_of

if TYPE_CHECKING:
    import pandas as pd

    from ms2img.massformer.predictor import SpectrumPredictor

#: Columns of an answer, in this order.
ANSWER = (
    "smiles", "adduct", "collision_energy", "energy_unit", "instrument_type", "precursor_mz", "mz", "intensity",
    "model_version", "error",
)  # fmt: skip


class FramePredictor:
    """``predict(frame)``, as MLflow's pyfunc asks for it."""

    def __init__(self, predictor: SpectrumPredictor) -> None:
        self.predictor = predictor
        self.model_version = predictor.model_version

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A spectrum a row of `frame`, same order and index.

        Parameters
        ----------
        frame: has ``smiles``; optional are ``adduct`` (default: the only one that the model knows, else [M+H]+),
            ``collision_energy`` (a number; absent or NaN: unknown), ``energy_unit`` ("NCE", the default, or "eV") and
            ``instrument_type`` (default: unknown). Other columns are ignored.

        Returns
        -------
        The columns of `ANSWER`: ``mz`` (Da) and ``intensity`` (base peak 1000) are lists, empty on an error;
        ``error`` is empty, or "code: message".

        Raises
        ------
        UsageError: `frame` has no column ``smiles``, or a unit or energy that is none.
        """
        import pandas as pd

        if not isinstance(frame, pd.DataFrame) or "smiles" not in frame.columns:
            raise UsageError("predict needs a table with a column 'smiles'")
        smiles = ["" if _is_absent(each) else str(each) for each in frame["smiles"]]
        conditions = [self._condition(row) for row in frame.to_dict("records")]
        answer = self.predictor.answer(smiles, conditions, threads=1)
        rule = PeakRule()
        rows = []
        for number, condition in enumerate(conditions):
            error = answer.errors.get(number, "")
            peaks = [] if error else peaks_of(answer.spectra[number], self.predictor.spectrum, rule)
            rows.append(
                (
                    smiles[number],
                    condition.adduct,
                    math.nan if condition.energy is None else condition.energy,
                    condition.energy_unit,
                    condition.instrument_type,
                    answer.precursor_mz[number],
                    [mz for mz, _ in peaks],
                    [intensity for _, intensity in peaks],
                    self.model_version,
                    error,
                )
            )
        return pd.DataFrame(rows, columns=list(ANSWER), index=frame.index)

    def _condition(self, row: dict[Any, Any]) -> Condition:
        def stated(name: str, default: str) -> str:
            value = row.get(name)
            return default if _is_absent(value) else str(value)

        adducts = self.predictor.vocabulary.adducts
        energy = row.get("collision_energy")
        try:
            number = None if _is_absent(energy) else float(energy)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise UsageError(f"collision_energy: {energy!r}; expected a number") from None
        return Condition(
            adduct=stated("adduct", adducts[0] if len(adducts) == 1 else "[M+H]+"),
            energy=number,
            energy_unit=stated("energy_unit", "NCE"),
            instrument_type=stated("instrument_type", ""),
        )


def _is_absent(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
