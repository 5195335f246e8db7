"""``ms2img deepion simulate`` and ``prepare`` as a user runs them: on Ray, again, otherwise, and after a fault."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conversions import COMMAND, outside_ray, running
from deepion_imzml import PEAKS, PLACES, write_imzml
from s3_servers import S3Server

from ms2img.deepion import prepare as stages
from ms2img.deepion.images import IonImages, read_images, write_images
from ms2img.deepion.imzml import open_imzml
from ms2img.deepion.made import made_of
from ms2img.deepion.matrix import from_archive
from ms2img.deepion.prepare_settings import PRESETS, PrepareSettings
from ms2img.deepion.spill import Spills
from ms2img.errors import JobError, UsageError
from ms2img.io.storage import folder
from pipelines import cli
from pipelines.command import Output
from pipelines.deepion import prepare_scratch, prepare_work
from pipelines.deepion.prepare import PrepareConfig, prepare_command
from pipelines.deepion.prepare_scratch import Scratch
from pipelines.deepion.simulate import SimulateConfig, simulate_command
from pipelines.submission.command_line import parse
from pipelines.submission.travel import prepare as travel

QUIET = Output(quiet=True, json=False)
ION_TRAP = {"ppm": 300.0, "min_presence": 0.3}  # the real examples have a point every 0.083 m/z


def content(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def run(source: Path, out: Path, **options: Any) -> dict[str, Any]:
    return prepare_command(PrepareConfig(source=str(source), out=str(out), **options), QUIET).values


def status_and_line(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """What a user sees of a command that fails: its status, and the one line."""
    capsys.readouterr()
    status = cli.main(["deepion", *map(str, words)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ms2img: ")]
    assert len(lines) == 1
    return status, lines[0]


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SIMULATED section of 40 ions, as the command writes it."""
    out = tmp_path_factory.mktemp("simulated") / "section"
    simulate_command(SimulateConfig(out=str(out), ions=40, size="16x16"), QUIET)
    return out / "SIMULATED.imzML"


@pytest.fixture(scope="module")
def small_parts() -> Iterator[None]:
    """Shares of some dozen spectra and windows of some ions, so that small files have several of both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "SHARE_POINTS", 1200)
        for module in (stages, prepare_work, prepare_scratch):
            patch.setattr(module, "WINDOW_VALUES", 4000)
        yield


@pytest.fixture(scope="module")
def prepared(
    section: Path, small_parts: None, ray_session: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The section's ion images, made on Ray, and the command's ``--json`` line."""
    out = tmp_path_factory.mktemp("prepared") / "images"
    return out, run(section, out)


@pytest.mark.ray
def test_on_workers_it_is_to_the_bit_what_one_process_makes(section, prepared, tmp_path):
    out, values = prepared
    fingerprint = stages.prepare(str(section), tmp_path / "images", PRESETS["paper"])
    assert content(out) == content(tmp_path / "images")
    plan = stages.Plan.of(open_imzml(str(section)), PRESETS["paper"], Spills(folder("unused")), stages.SHARE_POINTS)
    assert min(len(plan.shares), len(list((out / "images").iterdir()))) > 2
    ions = read_images(out)
    assert values["fingerprint"] == ions.fingerprint == fingerprint
    assert ions.is_simulated
    assert (values["ions"], values["pixels"]) == (len(ions), ions.mask.sum())
    assert values["ions"] + values["rare"] + values["flat"] >= 40
    assert values["polarity"] == "positive"
    assert [path.name for path in out.parent.iterdir()] == ["images"]  # the peaks' folder is gone


@pytest.mark.ray
def test_again_is_one_line_and_otherwise_is_refused_by_name(section, prepared, tmp_path, capsys):
    out, before = prepared[0], content(prepared[0])
    assert cli.main(["deepion", "prepare", str(section), str(out)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("already prepared from the same file and settings: ")
    for options, words in [
        (
            ["--min-presence", 0.2],
            "made with min_presence=0.01, now asked for min_presence=0.2; give OUT another folder",
        ),
        (["--preset", "released"], "made with hotspots=quantile, now asked for hotspots=none"),
        (["--simulated"], "made with simulated=False, now asked for simulated=True"),
    ]:
        status, line = status_and_line(capsys, "prepare", section, out, *options)
        assert (status, words in line) == (2, True)
    other = tmp_path / section.name
    shutil.copy2(section, other)
    shutil.copy(section.with_suffix(".ibd"), other.with_suffix(".ibd"))
    os.utime(other.with_suffix(".ibd"), ns=(1, 1))
    status, line = status_and_line(capsys, "prepare", other, out)
    assert (status, "made of other files, SIMULATED.ibd has changed since; give OUT" in line) == (2, True)
    assert content(out) == before


@pytest.mark.ray
def test_what_an_ended_job_has_done_is_not_done_again(shared, tmp_path, small_parts, ray_session):
    """The real file's spectra were spilled, then its content was lost: the images are those it had."""
    for half in (".imzML", ".ibd"):
        shutil.copy2(shared / f"data/imzml/Example_Processed{half}", tmp_path / f"a{half}")
    source, ibd, out = tmp_path / "a.imzML", tmp_path / "a.ibd", tmp_path / "images"
    ibd.chmod(0o644)
    settings = PrepareSettings(**ION_TRAP)
    stages.prepare(str(source), tmp_path / "whole", settings)
    place, made = folder(f"{out}.peaks"), made_of(str(source))
    plan = stages.Plan.of(open_imzml(str(source)), settings, Scratch(place, settings, made, str(out)).spills, 1200)
    assert len(plan.shares) > 1
    for rows in plan.shares:
        stages.read_share(plan, rows)
    place.write("spectra-0123456789abcdef/share-000000000.npz", b"of other settings")
    place.write("mine.txt", b"not ours")
    state, size = ibd.stat(), ibd.stat().st_size
    uuid = ibd.read_bytes()[:16]
    ibd.write_bytes(uuid + bytes(size - 16))
    os.utime(ibd, ns=(state.st_atime_ns, state.st_mtime_ns))
    run(source, out, **ION_TRAP)
    assert content(out) == content(tmp_path / "whole")
    assert content(tmp_path / "images.peaks") == {"mine.txt": b"not ours"}


def test_windows_that_are_imaged_are_kept_while_their_parts_are_there(section, tmp_path):
    out, settings = folder(str(tmp_path / "images")), PRESETS["paper"]
    place = folder(str(tmp_path / "images.peaks"))
    scratch = Scratch(place, settings, made_of(str(section)), out.location)
    plan = stages.Plan.of(open_imzml(str(section)), settings, scratch.spills)
    survey = stages.Survey(len(plan.imzml))
    survey.add(stages.read_share(plan, plan.shares[0]))
    bins = survey.bins(settings)
    windows = {0: slice(0, 10), 1: slice(10, 20), 2: slice(20, 20)}  # the last without an ion
    written = dict(stages.write_windows(plan, bins, windows, survey.tic, out))
    for number, window in written.items():
        scratch.keep(number, window)
    assert scratch.kept(out) == written
    assert written[2].part is None
    out.delete([written[0].part.name])
    assert set(scratch.kept(out)) == {1, 2}
    changed = Scratch(place, PrepareSettings(min_presence=0.5), made_of(str(section)), out.location)
    assert not changed.kept(out)
    assert changed.spills.there() == scratch.spills.there()  # spectra need not be read again for that
    for other in (
        Scratch(place, PrepareSettings(ppm=5.0), made_of(str(section)), out.location),
        Scratch(place, settings, {"another": "file"}, out.location),
    ):
        assert not other.spills.there()
    with pytest.raises(JobError), scratch.for_one_job():
        raise JobError("the store is gone")
    assert scratch.kept(out)
    with pytest.raises(UsageError), scratch.for_one_job():
        raise UsageError("no ion is left")
    assert not Path(place.location).exists()


@pytest.mark.ray
def test_no_ion_left_is_one_line_and_nothing_is_left(section, tmp_path, ray_session, capsys):
    out = tmp_path / "images"
    status, line = status_and_line(capsys, "prepare", section, out, "--min-presence", 0.999, "--quiet")
    assert status == 2
    assert "SIMULATED.imzML: no ion image is left by min_presence 0.999 at ppm 10 (" in line
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "images.peaks").exists()


def test_what_is_wrong_is_told_in_a_line_before_any_work(section, tmp_path, capsys):
    cut = tmp_path / "cut.imzML"
    shutil.copy(section, cut)
    cut.with_suffix(".ibd").write_bytes(section.with_suffix(".ibd").read_bytes()[:20_000])
    alone = tmp_path / "alone.imzML"
    shutil.copy(section, alone)
    twice = write_imzml(tmp_path / "twice.imzML", PEAKS, [*PLACES[:2], PLACES[0]])
    (tmp_path / "notes.txt").touch()
    (tmp_path / "ions.npz").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.docx").touch()
    mask = np.ones((2, 2), dtype=bool)
    write_images(tmp_path / "by-hand", IonImages(np.ones(1), np.ones((1, 2, 2), np.float32), mask))
    new = tmp_path / "new"
    for words, message in [
        ([cut, new], "cut.imzML, spectrum 95: its m/z array takes"),
        ([alone, new], "alone.ibd, is missing; an imzML file is a pair"),
        ([twice, new], "twice.imzML: spectra 1 and 3 both lie at x 1, y 1"),
        ([tmp_path / "none.imzML", new], "none.imzML: no such file"),
        ([tmp_path / "notes.txt", new], "expected a file ending in .imzML or .npz, or a matrix with --peaks FILE"),
        ([tmp_path / "notes.txt", new, "--shape", "2x2"], "a matrix needs both --peaks FILE and --shape HEIGHTxWIDTH"),
        ([section, tmp_path / "notes.txt"], "notes.txt: is a file; OUT must be a folder"),
        ([section, tmp_path / "full"], "not empty and not ion images (it has thesis.docx); give OUT a new folder"),
        ([section, tmp_path / "by-hand"], "holds ion images that no file is named for; give OUT another folder"),
        ([section, new, "--section", 7], "no section z = 7"),
        ([tmp_path / "ions.npz", new, "--section", 7], "ions.npz: --section 7 is for imzML files; leave it out"),
        ([section, new, "--ppm", 0], "ppm: 0.0; expected a number above 0"),
        ([section, new, "--shape", "2by2"], "shape: expected HEIGHTxWIDTH in pixels, such as 64x48"),
    ]:
        status, line = status_and_line(capsys, "prepare", *words)
        assert (status, message in line) == (2, True), line
    assert not list(new.rglob("*"))


def test_the_authors_matrix_and_a_real_archive(shared, tmp_path, capsys):
    counts = np.random.default_rng(0).poisson(3, (12, 5)).astype(float)  # SIMULATED
    np.savetxt(tmp_path / "data.txt", counts)
    np.savetxt(tmp_path / "mz.txt", [100, 200, 300, 400, 500])
    given = {"peaks": str(tmp_path / "mz.txt"), "shape": "3x4", "preset": "released", "simulated": True}
    values = run(tmp_path / "data.txt", tmp_path / "a", **given)
    assert "SIMULATED" in capsys.readouterr().err
    ions = read_images(tmp_path / "a")
    np.testing.assert_allclose(ions.intensity, counts.mean(axis=0))
    assert (values["ions"], values["pixels"], ions.is_simulated) == (5, 12, True)
    assert run(tmp_path / "data.txt", tmp_path / "a", **given)["was_prepared"]
    capsys.readouterr()
    with pytest.raises(UsageError, match="made with shape=3x4, now asked for shape=4x3"):
        run(tmp_path / "data.txt", tmp_path / "a", **{**given, "shape": "4x3"})
    archive = shared / "data/imzml/timstof_maldi_20x20_165_ion_images.npz"
    assert cli.main(["deepion", "prepare", str(archive), str(tmp_path / "b")]) == 0
    told, warned = capsys.readouterr()
    assert f"{archive.name}: 233 pixels, 165 ions -> 165 ions in " in told
    assert told.splitlines()[-1] == f"Next: ms2img deepion train {tmp_path / 'b'}"
    assert "SIMULATED" not in warned
    np.testing.assert_array_equal(read_images(tmp_path / "b").images, from_archive(archive, PRESETS["paper"]).images)


def test_spectra_and_peaks_in_an_object_store(section, tmp_path, s3: S3Server):
    """Both ends of the stages in a store, where a share and a batch are read by ranges."""
    s3.upload(section.parent, "bucket/section")
    source, settings = s3.url("bucket/section/SIMULATED.imzML"), PRESETS["paper"]
    plan = stages.Plan.of(open_imzml(source), settings, Spills(folder(s3.url("bucket/images.peaks"))), 1200)
    survey, out = stages.Survey(len(plan.imzml)), folder(s3.url("bucket/images"))
    for rows in plan.shares:
        survey.add(stages.read_share(plan, rows))
    bins = survey.bins(settings)
    written = dict(stages.write_windows(plan, bins, {0: slice(0, len(bins))}, survey.tic, out))
    fingerprint = stages.finish(out, plan, survey, list(written.values()), made_of(source))
    assert fingerprint == stages.prepare(str(section), tmp_path / "images", settings)
    counts = np.random.default_rng(0).poisson(3, (12, 5))
    for name, table in (("data", counts), ("mz", np.arange(100, 600, 100))):
        np.save(tmp_path / f"{name}.npy", table)
        s3.put(f"bucket/m/{name}.npy", (tmp_path / f"{name}.npy").read_bytes())
    matrix = {"source": s3.url("bucket/m/data.npy"), "peaks": s3.url("bucket/m/mz.npy"), "shape": "3x4"}
    assert prepare_command(PrepareConfig(out=s3.url("bucket/n"), **matrix), QUIET).values["ions"] == 5
    assert not (s3.keys("bucket/n.peaks"))


def test_a_section_is_simulated_once_here_or_in_a_store(section, tmp_path, s3: S3Server, capsys):
    again = ["deepion", "simulate", str(section.parent), "--ions", "40", "--size", "16x16"]
    assert cli.main(again) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("SIMULATED section unchanged: 40 ions of ")
    assert told[1] == f"Next: ms2img deepion prepare {section} IMAGES"
    status, line = status_and_line(capsys, *again[1:], "--difficulty", 1)
    assert (status, "holds a phantom with difficulty 0.5, not 1.0; name a new folder" in line) == (2, True)
    status, line = status_and_line(capsys, "simulate", tmp_path / "new", "--ions", 3)
    assert (status, "ions: 3; expected an integer, from 17 to 5000" in line) == (2, True)
    config = SimulateConfig(out=s3.url("bucket/section"), ions=40, size="16x16")
    s3.put("bucket/section/SIMULATED.ibd", b"what an interrupted call has left")
    values = simulate_command(config, QUIET).values
    assert values["simulated"]
    assert {key.removeprefix("bucket/"): s3.get(f"bucket/{key}") for key in s3.keys("bucket/section")} == {
        f"section/{name}": found for name, found in content(section.parent).items()
    }
    assert simulate_command(config, QUIET).values["unchanged"]


def test_help_is_quick_and_a_job_travels_by_its_places(tmp_path):
    code = "import sys; from pipelines.cli import main; main(['deepion', 'prepare', '--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"ray", "torch", "mlflow", "umap", "pyimzml", "sklearn"} & set(done.stdout.splitlines()[-1].split())
    words = ["deepion", "prepare", "s3://lab/a.imzML", "s3://lab/out"]
    assert travel(parse(words, cli.app), []).words == tuple(words)
    local = write_imzml(tmp_path / "a.imzML", PEAKS, PLACES)  # its other half would stay behind
    with pytest.raises(UsageError, match="is a file of this machine"):
        travel(parse(["deepion", "prepare", str(local), "s3://lab/out"], cli.app), [])
    with pytest.raises(UsageError, match="is a place of this machine"):
        travel(parse([*words, "--scratch", "/scratch"], cli.app), [])


#: In a mount namespace of its own: a small disk, then the same command after room was made.
FULL_DISK = """
set -e
mount -t tmpfs -o size=16k tmpfs "$SCRATCH"
"$@" 2> "$LOG" && exit 90 || test $? = 1
mount -o remount,size=64m "$SCRATCH"
"$@" 2>> "$LOG"
test -z "$(find "$SCRATCH" -type f)"
"""


@pytest.mark.slow
def test_a_full_disk_ends_the_job_in_a_line_and_room_lets_it_go_on(section, tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("no right to a mount namespace (unshare -rm)")
    scratch, log, out = tmp_path / "scratch", tmp_path / "log", tmp_path / "images"
    scratch.mkdir()
    words = ["deepion", "prepare", str(section), str(out), "--scratch", str(scratch), "--quiet"]
    subprocess.run(
        ["unshare", "-rm", "sh", "-c", FULL_DISK, "sh", *COMMAND, *words],
        env={**outside_ray(), "SCRATCH": str(scratch), "LOG": str(log)},
        check=True,
        timeout=200,
    )
    first = next(line for line in log.read_text().splitlines() if line.startswith("ms2img: "))
    assert "no space left on device" in first
    assert first.endswith("the same command goes on from what is done")
    assert read_images(out).fingerprint == stages.prepare(str(section), tmp_path / "whole", PRESETS["paper"])


@pytest.mark.slow
def test_a_killed_job_goes_on_in_a_store(section, tmp_path, s3: S3Server):
    """The whole command on S3; its driver is killed as soon as a share is there."""
    s3.upload(section.parent, "bucket/section")
    words = ["deepion", "prepare", s3.url("bucket/section/SIMULATED.imzML"), s3.url("bucket/images"), "--json"]
    with running(words, s3.environment) as process:
        while process.poll() is None and not any("/share-" in key for key in s3.keys("bucket/images.peaks")):
            time.sleep(0.05)
        process.kill()
    with running(words, s3.environment) as process:
        answer, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    local = stages.prepare(str(section), tmp_path / "images", PRESETS["paper"])
    assert json.loads(answer.splitlines()[-1])["fingerprint"] == local
    assert not s3.keys("bucket/images.peaks")
