"""``ms2img deepion embed``: ion images to vectors by a trained encoder, on Ray."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ms2img.config import Config
from ms2img.errors import UsageError
from ms2img.places import MODEL_NAMES, Reads, Writes
from pipelines.command import Output, Result


class EmbedConfig(Config):
    """Options of ``ms2img deepion embed``."""

    model: Annotated[str, Reads(names=MODEL_NAMES)] = Field(
        description="models:/NAME@ALIAS (such as models:/ms2img-deepion-kidney-col@champion), models:/NAME/VERSION, a "
        "run id, or a model folder"
    )
    images: Annotated[str, Reads()] = Field(
        description="folder of ion images: the OUT of ms2img deepion prepare (local or s3://)"
    )
    out: Annotated[str, Writes()] = Field(
        description="output folder, here or s3://: the encoder's vectors, and UMAP's in 20 dimensions and in 2"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of UMAP")
    metric: Literal["euclidean", "cosine"] | None = Field(
        None,
        description="between the encoder's vectors while UMAP reduces them [default: euclidean; cosine, the released "
        "code's, of a model of preset released]",
    )
    num_gpus: float = Field(0.0, ge=0, le=1, description="GPUs of each worker, such as 0.25; 0: CPUs embed")


def embed_command(config: EmbedConfig, output: Output) -> Result:
    """Embed ion images with a trained encoder: vectors to search for co-localised ions and isotopes in."""
    try:
        import umap  # noqa: F401 (needed when all is embedded: known here, before any work)
    except ModuleNotFoundError as error:
        raise UsageError(f"embeddings need {error.name}: pip install 'ms2img[deepion]'") from None
    from pipelines.deepion.embed_job import embed

    summary = embed(config, quiet=output.quiet, notice=output.warn)
    made = summary.embedding
    done = "embedded already" if summary.was_embedded else "embedded"
    output.say(
        f"{len(made)} ions {done} by {made.model} (mode {made.mode}) -> {config.out}"
        f"{'; SIMULATED data' if made.is_simulated else ''}"
    )
    follows = "isotopes" if made.mode == "iso" else "colocalize"
    option = f" --polarity {made.polarity or 'positive'}" if made.mode == "iso" else ""
    output.say(f"Next: ms2img deepion {follows} {config.out}{option}")
    return Result(
        {
            "output": summary.output,
            "ions": len(made),
            "dimensions": made.vectors.shape[1],
            "model": made.model,
            "model_version": made.model_version,
            "mode": made.mode,
            "fingerprint": made.fingerprint,
            "was_embedded": summary.was_embedded,
            "simulated": made.is_simulated,
            "seconds": round(summary.seconds, 1),
        }
    )
