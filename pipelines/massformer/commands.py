"""The commands of ``ms2img massformer``; each imports what it works with when it runs."""

from __future__ import annotations

import typer

from pipelines.command import command, command_group
from pipelines.massformer.attention import AttentionConfig, attention_command
from pipelines.massformer.evaluate import EvaluateConfig, evaluate_command
from pipelines.massformer.finetune import FinetuneConfig, finetune_command
from pipelines.massformer.predict import PredictConfig, predict_command
from pipelines.massformer.prepare import PrepareConfig, prepare_command
from pipelines.massformer.rank import RankConfig, rank_command
from pipelines.massformer.sweep import SweepConfig, sweep_command
from pipelines.massformer.train import TrainConfig, train_command

ABOUT = "Molecules to MS/MS spectra: libraries, training, search, evaluation, prediction, ranking."


def register_massformer(app: typer.Typer) -> None:
    """Add the group and every command of it to `app`, in the order of a day's work."""
    group = command_group(app, "massformer", ABOUT)
    command(group, "massformer prepare", PrepareConfig, arguments=("library", "out"))(prepare_command)
    command(group, "massformer train", TrainConfig, arguments=("library",))(train_command)
    command(group, "massformer sweep", SweepConfig, arguments=("library",))(sweep_command)
    command(group, "massformer finetune", FinetuneConfig, arguments=("model", "library"))(finetune_command)
    command(group, "massformer evaluate", EvaluateConfig, arguments=("model", "library", "out"))(evaluate_command)
    command(group, "massformer predict", PredictConfig, arguments=("model", "molecules"))(predict_command)
    command(group, "massformer attention", AttentionConfig, arguments=("model", "molecules"))(attention_command)
    command(group, "massformer rank", RankConfig, arguments=("query",))(rank_command)
