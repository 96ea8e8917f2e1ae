"""The recipe for real images, on simulated ones: what it reads, what it keeps, and that it agrees with the package."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from medclipsam_utils import TASKS, Segmenter, dice, load_clip, load_sam, simulate
from medclipsam_utils.simulate import FINDINGS
from recipes.measure import real_images

DATASET = "some data, of 2020"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One image of each task, and a manifest."""
    folder = tmp_path_factory.mktemp("real")
    rows = ["task,file,licence,dataset_name"]
    for task in TASKS:
        sample = simulate(task, 3, finding=FINDINGS[task][0])
        for name, pixels in (("images", sample.image), ("masks", sample.mask.astype(np.uint8) * 255)):
            (folder / task / name).mkdir(parents=True)
            Image.fromarray(pixels).save(folder / task / name / "one.png")
        rows.append(f'{task},one.png,unknown,"{DATASET}"')
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_scores_are_those_of_the_package_and_no_name_of_a_file_is_kept(folder, tmp_path):
    real_images.main([str(folder), "--results", str(tmp_path / "found.json")])
    text = (tmp_path / "found.json").read_text()
    assert "one" not in json.dumps(list(json.loads(text)["images"].values()))
    segmenter = Segmenter(load_clip("tiny"), load_sam("tiny"))
    for task, found in json.loads(text)["images"].items():
        sample = simulate(task, 3, finding=FINDINGS[task][0])
        answer = segmenter.segment(sample.image, task=task)
        assert found["dataset"] == [DATASET]
        assert found["scores"]["default"]["DSC"] == [pytest.approx(dice(answer.mask, sample.mask), abs=1e-4)]
        assert found["reported present"] == [answer.present]
        assert set(found["scores"]) == {"default", "default, filled box", "paper's way", "paper's way, filled box"}


def test_an_image_of_unknown_origin_is_refused(folder, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).symlink_to(path)
    (other / "manifest.csv").unlink()
    (other / "manifest.csv").write_text("task,file,dataset_name\n")
    with pytest.raises(SystemExit):
        real_images.main([str(other)])
    assert "the manifest has no row for one of breast_ultrasound" in capsys.readouterr().err
    (other / "manifest.csv").write_text("task,name\n")
    with pytest.raises(SystemExit):
        real_images.main([str(other)])
    assert "has no column dataset_name, file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        real_images.main([str(tmp_path / "nowhere")])
    assert "No such file" in capsys.readouterr().err
