"""The commands of ``ms2img deepion``; each imports what it works with when it runs."""

from __future__ import annotations

import typer

from pipelines.command import command, command_group
from pipelines.deepion.benchmark import BenchmarkConfig, benchmark_command
from pipelines.deepion.colocalize import ColocalizeConfig, colocalize_command
from pipelines.deepion.embed import EmbedConfig, embed_command
from pipelines.deepion.isotopes import IsotopesConfig, isotopes_command
from pipelines.deepion.prepare import PrepareConfig, prepare_command
from pipelines.deepion.simulate import SimulateConfig, simulate_command
from pipelines.deepion.train import TrainConfig, train_command

ABOUT = "Ion images to embeddings: preparing imzML, training, co-localised ions, isotopes, the benchmark."


def register_deepion(app: typer.Typer) -> None:
    """Add the group and every command of it to `app`, in the order of a day's work."""
    group = command_group(app, "deepion", ABOUT)
    command(group, "deepion simulate", SimulateConfig, arguments=("out",))(simulate_command)
    command(group, "deepion prepare", PrepareConfig, arguments=("source", "out"))(prepare_command)
    command(group, "deepion train", TrainConfig, arguments=("images",))(train_command)
    command(group, "deepion embed", EmbedConfig, arguments=("model", "images", "out"))(embed_command)
    command(group, "deepion colocalize", ColocalizeConfig, arguments=("embedding",))(colocalize_command)
    command(group, "deepion isotopes", IsotopesConfig, arguments=("embedding",))(isotopes_command)
    command(group, "deepion benchmark", BenchmarkConfig, arguments=("labelled", "out"))(benchmark_command)
