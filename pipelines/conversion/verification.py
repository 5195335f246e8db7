"""``ms2img convert --verify``: check a data set against its manifest."""

from __future__ import annotations

from ms2img.io.dataset.manifest import require_manifest
from ms2img.io.dataset.verify import verify as find_defects
from ms2img.io.storage import folder
from pipelines.command import Output, Result
from pipelines.conversion.config import ConvertConfig
from pipelines.progress import Steps

DEFECTS_FOUND = 3  # exit status: the command did its work, and what it found is bad


def verify(config: ConvertConfig, output: Output) -> Result:
    """Name every defect of the data set at ``config.out``, a line each; exit status 3 where there is one."""
    out = folder(config.out)
    manifest = require_manifest(out)
    with Steps(len(manifest.files), "verify", quiet=output.quiet) as progress:
        defects = find_defects(out, progress=progress.advance)
    for defect in defects:
        output.warn(defect)
    output.say(f"{out.location}: images {manifest.n_images}, files {len(manifest.files)}, defects {len(defects)}")
    values = {"images": manifest.n_images, "files": len(manifest.files), "defects": defects, "output": out.location}
    return Result(values, status=DEFECTS_FOUND if defects else 0)
