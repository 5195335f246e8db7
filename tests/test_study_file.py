"""The file that describes a study: closed, checked before any work, and the grid that follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_studies import STUDY, write

from ms2img.errors import UsageError
from pipelines.study.config import StudyConfig, StudyFile
from pipelines.study.grid import cells_of, chosen

ROOT = Path(__file__).parent.parent


def test_the_grid_is_the_product_of_its_lists(tmp_path):
    study = StudyFile.read(write(tmp_path))
    cells = cells_of(study)
    # 2 tasks x 2 seeds x (2 sizes x 2 models of images + 1 of the table + 1 of words)
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 2 * (2 * 2 + 1 + 1)
    assert "dpph_image_15x14_cnn-paper_seed1" in {cell.name for cell in cells}
    assert "tpc_memo_forest_seed0" in {cell.name for cell in cells}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"task": ["tpc"]}, 12),
        ({"resolution": ["15x14"]}, 2 * 2 * (2 + 1 + 1)),  # tables have no size: they stay
        ({"representation": ["image"], "resolution": ["30x28"], "seed": [1]}, 2 * 2),
        ({"model": ["forest"], "task": ["dpph"], "seed": [0]}, 2 + 1),
    ],
)
def test_options_narrow_the_grid(tmp_path, options, expected):
    path = write(tmp_path)
    assert len(chosen(cells_of(StudyFile.read(path)), StudyConfig(study=path, **options))) == expected


def test_a_task_may_have_models_of_its_own(tmp_path):
    tasks = {"dpph": {"data": "plants", "assay": "dpph", "models": {"memo": ["logistic"]}}}
    cells = cells_of(StudyFile.read(write(tmp_path, tasks=tasks)))
    assert [cell.name for cell in cells] == ["dpph_memo_logistic_seed0", "dpph_memo_logistic_seed1"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": {}}, "unknown key 'model'; did you mean 'models'?"),
        ({"models": {"images": ["forest"]}}, "unknown representation 'images'; there are image, cosine"),
        ({"models": {"memo": ["oplsda"]}}, "'oplsda' does not learn from 'memo'; there are forest, logistic"),
        ({"resolutions": ["75*70"]}, "'75*70' is no image size"),
        ({"resolutions": ["0x70"]}, "'0x70' is no image size"),
        ({"folds": 1}, "folds: Input should be greater than or equal to 2"),
        ({"seeds": []}, "seeds: is empty"),
        ({"tasks": {"dpph": {"data": "plant", "assay": "dpph"}}}, "tasks.dpph.data: 'plant' is not defined"),
        ({"tasks": {"../up": {"data": "plants", "assay": "dpph"}}}, "tasks: '../up' names a folder"),
        ({"tasks": {"d": {"data": "plants", "assay": "dpph", "low": 0.9}}}, "low 0.9 exceeds high 0.6"),
        ({"main_task": "dphp"}, "main_task: 'dphp' is not defined; there are dpph, tpc"),
        ({"data": {"plants": {}}}, "expected one of samples, simulate and drift, found none"),
        (
            {"data": {**STUDY["data"], "both": {"samples": "a.csv", "drift": {"of": "plants"}}}},
            "expected one of samples, simulate and drift, found samples and drift",
        ),
        (
            {"data": {**STUDY["data"], "odd": {"drift": {"of": "plant", "mz_ppm": 5}}}},
            "data.odd.drift.of: 'plant' is not defined",
        ),
        (
            {"conditions": {"x": {"kind": "mz_ppm", "level": 1, "data": {"plants": "nowhere"}}}},
            "conditions.x.data: 'nowhere' is not defined",
        ),
        ({"conditions": {"x": {"kind": "weather", "data": {}}}}, "conditions.x.kind"),
        ({"conditions": {"x": {"kind": "mz_ppm", "data": {}}}}, "kind 'mz_ppm' needs a level"),
        ({"conditions": {"x": {"kind": "instrument", "level": 1, "data": {}}}}, "kind 'instrument' has no level"),
        ({"conditions": {"x": {"kind": "intensity_tilt", "level": 0, "data": {}}}}, "level 0 is no factor"),
        ({"seeds": [0, 1, 0]}, "names one twice: 0, 1, 0"),
        ({"models": {"memo": ["forest", "forest"]}}, "'memo' names a model twice"),
        (
            {"data": {**STUDY["data"], "a": {"drift": {"of": "b"}}, "b": {"drift": {"of": "a"}}}},
            "data.a.drift.of: a of b of a: a copy of itself",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, changed, told):
    path = write(tmp_path, **changed)
    with pytest.raises(UsageError) as refused:
        StudyFile.read(path)
    assert told in str(refused.value)
    assert str(refused.value).startswith(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"task": ["dphp"]}, "--task dphp: the study has no such task; there are dpph, tpc"),
        ({"seed": [7]}, "--seed 7: the study has no such seed; there are 0, 1"),
        ({"representation": ["image"], "model": ["pca"]}, "no cell is left by these options"),
    ],
)
def test_options_that_name_nothing_are_refused(tmp_path, options, told):
    path = write(tmp_path)
    with pytest.raises(UsageError, match=told):
        chosen(cells_of(StudyFile.read(path)), StudyConfig(study=path, **options))


def test_sheets_are_relative_to_the_file(tmp_path):
    path = write(tmp_path / "deep", data={"plants": {"samples": "../runs/samples.csv"}}, conditions={})
    assert StudyFile.read(path).data["plants"].samples == str(tmp_path / "deep" / "../runs/samples.csv")


@pytest.mark.parametrize("path", sorted((ROOT / "bench" / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_committed_studies_are_sound(path):
    study = StudyFile.read(str(path))
    assert len(cells_of(study)) > 0
    for source in study.data.values():
        assert source.samples is None or "shared" in source.samples


def test_the_full_grid_is_that_of_the_paper_and_more():
    study = StudyFile.read(str(ROOT / "bench" / "studies" / "simulated.yaml"))
    simulated = study.data["plants"].simulate
    assert simulated is not None
    assert simulated.accessions == 545
    assert study.resolutions == ["75x70", "150x140", "300x280"]
    assert sorted(study.tasks) == ["dpph", "elastase", "tfc", "tpc"]
    assert study.seeds == [0, 1, 2]
    assert len(cells_of(study)) == 4 * 3 * (3 * 4 + 5 + 5 + 2)
