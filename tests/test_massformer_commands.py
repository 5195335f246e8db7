"""``ms2img massformer`` on the command line: what there is, how fast it answers, and how it is sent to a cluster."""

from __future__ import annotations

import subprocess
import sys

import pytest
from command_lines import parsers

from ms2img.errors import UsageError
from pipelines import cli
from pipelines.command import COMMANDS
from pipelines.submission.command_line import parse
from pipelines.submission.travel import prepare

NAMES = ("prepare", "train", "sweep", "finetune", "evaluate", "predict", "attention", "rank")
OUT = "s3://lab/out"


def test_the_group_holds_every_command_in_the_order_of_a_days_work(capsys):
    assert [name.split()[1] for name in COMMANDS if name.startswith("massformer ")] == list(NAMES)
    assert {f"massformer {name}" for name in NAMES} <= parsers(cli.app).keys()
    assert cli.main(["massformer"]) == 2
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told for name in NAMES)
    assert cli.main(["--help"]) == 0
    assert "\n  massformer " in capsys.readouterr().out


def test_help_waits_for_none_of_the_heavy_packages():
    code = "import sys; from pipelines.cli import main; main(['massformer', 'train', '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    usage, loaded = done.stdout.splitlines()[0], set(done.stdout.splitlines()[-1].split())
    assert usage.startswith("Usage: ms2img massformer train [OPTIONS] [LIBRARY]")
    heavy = {"ray", "torch", "mlflow", "rdkit", "selfies", "matplotlib", "optuna", "ms_entropy", "sklearn"}
    assert not loaded & heavy


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "ms2img massformer train: LIBRARY is missing; see 'ms2img massformer train --help'"),
        (["trian", "x"], "No such command 'massformer trian'; did you mean 'massformer train'?"),
        (["predict", "models:/m@champion"], "ms2img massformer predict: MOLECULES is missing"),
        (["sweep", "x", "--model", "gpt"], "Invalid value for '--model': 'gpt' is not one of"),
        (["sweep", "x", "--trials", "0"], "trials: Input should be greater than or equal to 1; got 0"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_command_as_typed(capsys, words, message):
    assert cli.main(["massformer", *words]) == 2
    _, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert message in err


@pytest.mark.parametrize(
    "words",
    [
        ["prepare", "s3://lab/massbank", OUT],
        ["train", "s3://lab/library", "--model=fp", f"--work={OUT}"],
        ["sweep", "s3://lab/library", "--model=fp", f"--out={OUT}"],
        ["finetune", "models:/ms2img-massformer-massbank@champion", "s3://lab/library", f"--work={OUT}"],
        ["evaluate", "models:/ms2img-massformer-massbank@champion", "s3://lab/library", OUT],
        ["predict", "models:/ms2img-massformer-massbank@champion", "s3://lab/molecules.csv", f"--out={OUT}.msp"],
        ["attention", "models:/m@champion", "s3://lab/molecules.csv", f"--out={OUT}"],
        ["rank", "s3://lab/q.mgf", "--model=models:/m@champion", "--candidates=s3://lab/c.csv", f"--out={OUT}.csv"],
    ],
    ids=NAMES,
)
def test_every_command_can_be_submitted_and_says_the_same_there(words):
    trip = prepare(parse(["massformer", *words], cli.app), ())
    assert trip.words[:2] == ("massformer", words[0])
    first, again = parse(["massformer", *words], cli.app), parse(trip.words, cli.app)
    assert (again.name, again.config) == (f"massformer {words[0]}", first.config)
    assert trip.files == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep", "s3://lab/library"], "--out is missing: it would be massformer-sweep-massformer of one machine"),
        (["predict", "models:/m@champion", "s3://lab/m.csv"], "--out is missing: it would be predicted.msp"),
        (["evaluate", "models:/m@champion", "library", OUT], "LIBRARY library: there is no such file"),
    ],
)
def test_what_only_this_machine_reaches_is_refused(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        prepare(parse(["massformer", *words], cli.app), ())


def test_a_training_keeps_its_states_beside_its_library_if_every_node_reaches_that(tmp_path):
    line = parse(["massformer", "train", "s3://lab/library"], cli.app)
    assert line.config.work_place() == "s3://lab/library.training"
    assert prepare(line, ()).words == ("massformer", "train", "s3://lab/library")
    shared = str(tmp_path)
    (tmp_path / "library").mkdir()
    line = parse(["massformer", "train", f"{shared}/library"], cli.app)
    assert prepare(line, (shared,)).words == ("massformer", "train", f"{shared}/library")
