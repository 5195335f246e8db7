"""The parts of ``ms2img predict --distributed``: plan, read under limits, score, stage, commit."""
