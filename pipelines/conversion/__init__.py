"""The parts of ``ms2img convert``: plan, read under limits, stage, compact, commit. `pipelines.convert` is the job."""
