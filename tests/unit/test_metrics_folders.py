"""A folder of masks against a folder of references: pairs by name, values by hand, what is wrong."""

from __future__ import annotations

import csv

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from medclipsam_utils.metrics import nsd, paired_test
from medclipsam_utils.metrics.folders import evaluate_masks


def square(size: int) -> np.ndarray:
    mask = np.zeros((20, 20), bool)
    mask[5 : 5 + size, 5 : 5 + size] = True
    return mask


def write(folder, **masks):
    for name, mask in masks.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return folder


def test_pairs_by_name_not_by_order(tmp_path):
    """The released code zips two directory listings; one file more in one of them shifts every pair after it."""
    found = write(tmp_path / "masks", a=square(4), b__c=square(6), d=np.zeros((20, 20), bool))
    expected = write(tmp_path / "references", a=square(8), b__c=square(6))
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(expected / "d.tif")
    (expected / "Thumbs.db").write_bytes(b"no picture")
    scores = evaluate_masks(found, expected)
    assert scores.names == ("a", "b/c", "d")
    assert scores.dsc == pytest.approx([2 * 16 / (16 + 64), 1, 1])
    assert scores.nsd == pytest.approx([nsd(square(4), square(8)), 1, 1])
    assert "3 masks" in repr(scores) and "DSC: mean 0.800" in repr(scores) and "lowest DSC: a 0.400" in repr(scores)
    scores.write(tmp_path / "scores.csv")
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[:2] == ["name,DSC,NSD,slices,left_out", f"a,0.4,{scores.nsd[0]:.5g},1,"]


def test_a_single_mask_has_no_interval(tmp_path):
    found, expected = (write(tmp_path / name, a=square(4)) for name in ("masks", "references"))
    assert "interval" not in repr(evaluate_masks(found, expected))


def test_the_tolerance_is_in_millimetres_of_the_reference(tmp_path):
    """Two squares whose sides are 1 pixel apart: within 2 mm at a spacing of 1 mm, beyond it at 5 mm."""
    for spacing, score in ((1.0, 1.0), (5.0, None)):
        references, masks = tmp_path / f"references {spacing}", tmp_path / f"masks {spacing}"
        references.mkdir()
        volume = np.zeros((20, 20, 1), np.uint8)
        volume[6:14, 6:14] = 1  # symmetric, so that the orientation does not matter
        affine = np.diag([spacing, spacing, 5, 1])
        nibabel.save(nibabel.Nifti1Image(volume, affine), references / "a.nii.gz")
        smaller = np.zeros((20, 20), bool)
        smaller[7:13, 7:13] = True
        found = evaluate_masks(write(masks, a=smaller), references)
        assert found.dsc == pytest.approx([2 * 36 / (36 + 64)])
        expected = nsd(smaller, volume[..., 0] > 0, 2.0, (spacing, spacing))
        assert found.nsd == pytest.approx([expected]) and expected == pytest.approx(score or 0.0)


def test_two_sets_of_masks_are_compared_in_pairs(tmp_path):
    expected = write(tmp_path / "references", **{f"m{number}": square(8) for number in range(5)})
    first = write(tmp_path / "first", **{f"m{number}": square(7) for number in range(5)})
    second = write(tmp_path / "second", **{f"m{number}": square(2 + number) for number in range(5)})
    one, other = (evaluate_masks(folder, expected) for folder in (first, second))
    assert one.compare(other)["DSC"] == paired_test(one.dsc, other.dsc)
    assert one.compare(other)["NSD"].n == 5
    (second / "m4.png").rename(second / "n4.png")
    (tmp_path / "references" / "m4.png").rename(tmp_path / "references" / "n4.png")
    with pytest.raises(ValueError, match="only one of them has m4, n4"):
        one.compare(evaluate_masks(second, expected))


def test_what_cannot_be_scored_is_left_out_and_the_reason_is_said(tmp_path):
    found = write(tmp_path / "masks", a=square(4), b=square(4))
    with pytest.raises(ValueError, match="references is no folder"):
        evaluate_masks(found, tmp_path / "references")
    expected = write(tmp_path / "references", a=square(4))
    scores = evaluate_masks(found, expected)
    assert scores.names == ("a",) and "references has no reference for it" in scores.left_out["b"]
    assert "left out: 1\n  b: " in repr(scores)
    assert "references has no mask for it" in evaluate_masks(expected, found).left_out["b"]
    write(expected, b=square(4)[:10])
    assert "b.png is 20 × 20 pixels" in evaluate_masks(found, expected).left_out["b"]
    (expected / "a.tif").write_bytes((expected / "a.png").read_bytes())
    with pytest.raises(ValueError, match=r"can be scored. .*has a.(png|tif) and a.(png|tif) of one stem"):
        evaluate_masks(found, expected)
    (expected / "a.tif").unlink()
    scores = evaluate_masks(found, expected)
    scores.write(tmp_path / "scores.csv")
    rows = list(csv.DictReader((tmp_path / "scores.csv").open(encoding="utf-8", newline="")))
    assert [(row["name"], row["DSC"]) for row in rows] == [("a", "1.0"), ("b", "")] and rows[1]["left_out"]


def test_stacks_that_do_not_say_alike_where_their_slices_lie_are_not_scored(tmp_path):
    for name in ("masks", "references"):
        write(tmp_path / name, ok=square(4))
    tifffile.imwrite(tmp_path / "masks" / "a.tif", np.stack([square(4), square(8)]), photometric="minisblack")
    values = np.stack([square(4), square(8)], axis=2).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "references" / "a.nii")
    scores = evaluate_masks(tmp_path / "masks", tmp_path / "references")
    assert scores.names == ("ok",) and "where their slices lie" in scores.left_out["a"]
