"""Datasets: items of one form, pairs that belong together, tables with odd content, and errors that say what to do."""

from __future__ import annotations

import pickle
import re

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from medclipsam_utils.datasets import CaptionCSV, MaskFolder, SimulatedDataset
from medclipsam_utils.datasets.items import image_tensor, mask_tensor
from medclipsam_utils.images import read_mask
from medclipsam_utils.images.names import some
from medclipsam_utils.simulate import FINDINGS, simulate
from medclipsam_utils.tasks import TASKS

LONG = "a chest CT of both lungs number {}"


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)
    return path


def grey(value, height=12, width=10):
    return np.full((height, width), value, np.uint8)


def square_mask(value=255, height=12, width=10, dtype=np.uint8):
    mask = np.zeros((height, width), dtype)
    mask[3:8, 2:6] = value
    return mask


@pytest.fixture
def captions(tmp_path):
    """A function that writes a table, and the images it names, and opens it."""

    def make(content, images=("a.png", "b.png", "c.png"), encoding="utf-8", **options):
        for number, name in enumerate(images):
            save(tmp_path / name, grey(5 * number))
        table = tmp_path / "table.csv"
        table.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
        return CaptionCSV(table, **options)

    return make


@pytest.fixture
def folder(tmp_path):
    """A function that writes images and masks of a split by name and opens it."""

    def make(images, masks, split="train", **options):
        for kind, names in (("images", images), ("masks", masks)):
            (tmp_path / f"{split}_{kind}").mkdir(exist_ok=True)
            for number, name in enumerate(names):
                path = tmp_path / f"{split}_{kind}" / name
                if re.search(r"\.(png|jpe?g|tiff?)$", name, re.IGNORECASE):
                    save(path, square_mask() if kind == "masks" else grey(20 * number))
                else:
                    path.write_text("not a picture")
        return MaskFolder(tmp_path, split, **options)

    return make


# What all share


def assert_valid(item, size=None):
    assert item["image"].dtype == torch.uint8 and item["image"].shape[0] == 3 and item["image"].is_contiguous()
    assert size is None or item["image"].shape == (3, size, size)
    if "mask" in item:
        assert item["mask"].dtype == torch.bool and item["mask"].shape == item["image"].shape[1:]
    assert all(type(item[key]) is str for key in ("caption", "name", "path", "task", "finding") if key in item)


@pytest.fixture(params=["simulated", "captions", "folder"])
def any_dataset(request):
    """Each kind of dataset with five items of 32 pixels."""
    names = [f"{letter}.png" for letter in "abcde"]
    if request.param == "simulated":
        return SimulatedDataset("lung_ct", range(5), size=32)
    if request.param == "folder":
        return request.getfixturevalue("folder")(names, names, size=32)
    table = "\n".join(["filepath,caption", *(f"{name},{LONG.format(name)}" for name in names)])
    return request.getfixturevalue("captions")(table, names, size=32)


def same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(v, second[k]) if torch.is_tensor(v) else v == second[k] for k, v in first.items())


def test_items_have_the_common_form_and_differ(any_dataset):
    items = list(any_dataset)  # ends because an index past the end is an IndexError
    assert len(items) == len(any_dataset) == 5
    for item in items:
        assert_valid(item, 32)
    assert len({item["name"] for item in items}) == 5
    assert not any(same(items[0], item) for item in items[1:])


def test_indices_from_the_end_and_past_it(any_dataset):
    assert same(any_dataset[-1], any_dataset[4]) and same(any_dataset[-5], any_dataset[np.int64(0)])
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"there is no item {index}: the dataset has 5 items"):
            any_dataset[index]
    with pytest.raises(TypeError):
        any_dataset[0.5]


def test_workers_load_what_the_main_process_loads(any_dataset):
    batches = list(DataLoader(any_dataset, batch_size=2, num_workers=2))
    assert [len(batch["name"]) for batch in batches] == [2, 2, 1]
    assert batches[0]["image"].shape == (2, 3, 32, 32) and batches[0]["image"].dtype == torch.uint8
    loaded = [
        {key: values[i].item() if key == "seed" else values[i] for key, values in batch.items()}
        for batch in batches
        for i in range(len(batch["name"]))
    ]
    assert all(same(item, any_dataset[index]) for index, item in enumerate(loaded))


def test_a_copy_sent_to_another_process_is_the_same(any_dataset):
    assert same(pickle.loads(pickle.dumps(any_dataset))[3], any_dataset[3])


def test_the_transform_has_the_last_word(any_dataset):
    plain = any_dataset[1]
    any_dataset.transform = lambda item: item | {"image": item["image"].flip(-1), "name": item["name"] + " flipped"}
    assert torch.equal(any_dataset[1]["image"], plain["image"].flip(-1))
    assert any_dataset[1]["name"] == plain["name"] + " flipped"


def test_images_shrink_without_aliasing_and_masks_by_majority():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = image_tensor(stripes, 16)
    assert shrunk.shape == (3, 16, 16) and (shrunk[..., 2:-2].float() - 127.5).abs().max() < 8
    mask = np.zeros((64, 64), bool)
    mask[8:40, 16:56] = True
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[2:10, 4:14] = True
    assert torch.equal(mask_tensor(mask, 16), expected)
    thin = np.zeros((64, 64), bool)
    thin[:, 30] = True
    assert not mask_tensor(thin, 16).any()
    assert mask_tensor(mask, 64).equal(torch.from_numpy(mask)) and mask_tensor(mask, 128).sum() == 4 * mask.sum()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_an_image_and_its_mask_are_resized_alike(height, width, size, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    image = np.repeat(255 * mask[..., None].astype(np.uint8), 3, axis=2)
    share, resized = image_tensor(image, size)[0], mask_tensor(mask, size)
    assert resized.shape == (size, size)
    assert resized[share > 130].all() and not resized[share < 125].any()


@pytest.mark.parametrize("size", [0, -3, 2.5, "224"])
def test_a_bad_size_is_refused(folder, size):
    with pytest.raises(ValueError, match=f"size is {size!r}: give the side in pixels, or None"):
        folder(["a.png"], ["a.png"], size=size)


def test_long_lists_in_messages_are_cut():
    assert some("abc") == "a, b, c"
    assert some("abcdefgh") == "a, b, c, d, e and 3 more"


# Simulated


def test_simulated_items_are_the_simulators_samples():
    dataset = SimulatedDataset("breast_ultrasound", range(7, 10), size=64)
    for seed, item in zip(range(7, 10), dataset, strict=True):
        sample = simulate("breast_ultrasound", seed, size=64)
        assert_valid(item, 64)
        assert (item["image"].permute(1, 2, 0).numpy() == sample.image).all()
        assert (item["mask"].numpy() == sample.mask).all()
        assert (item["caption"], item["finding"], item["task"]) == (sample.caption, sample.finding, sample.task)
        assert item["name"] == f"breast_ultrasound_{seed:06d}_{sample.finding}" and item["seed"] == seed


def test_several_tasks_and_findings_are_ordered_by_task_finding_and_seed():
    dataset = SimulatedDataset(
        [TASKS["lung_ct"], "breast_ultrasound"], [4, 2], size=32, findings={"lung_ct": ["nodule", "clear"]}
    )
    keys = [(item["task"], item["finding"], item["seed"]) for item in dataset]
    drawn = [simulate("breast_ultrasound", seed, size=32).finding for seed in (4, 2)]
    assert keys == [
        ("lung_ct", "nodule", 4),
        ("lung_ct", "nodule", 2),
        ("lung_ct", "clear", 4),
        ("lung_ct", "clear", 2),
        ("breast_ultrasound", drawn[0], 4),
        ("breast_ultrasound", drawn[1], 2),
    ]
    assert len(dataset) == 6 and dataset[-1]["seed"] == 2


def test_captions_of_one_kind_belong_to_the_same_images():
    mixed, bare = (SimulatedDataset("breast_ultrasound", range(6), size=32, caption_kind=k) for k in (None, "P0"))
    assert {item["caption"].split()[-1] for item in bare} <= {"tumour", "mass", "lesion", "breast"}
    assert all(len(item["caption"]) < 20 for item in bare) and all(len(item["caption"]) >= 20 for item in mixed)
    assert all(torch.equal(one["image"], other["image"]) for one, other in zip(mixed, bare, strict=True))


def test_pairs_whose_captions_are_true_of_each_others_images_are_a_group():
    shown = {"lung_xray": ["clear", "abdomen"], "lung_ct": ["nodule", "abdomen"]}

    def groups(kind):
        items = list(SimulatedDataset(["lung_xray", "lung_ct"], [3, 4], 32, shown, caption_kind=kind))
        names = {"lung_xray": "film", "lung_ct": "slice"}
        kinds = [f"{names[item['task']]} {'without' if item['finding'] == 'abdomen' else 'with'}" for item in items]
        return {group: {k for k, i in zip(kinds, items, strict=True) if i["group"] == group} for group in
                dict.fromkeys(item["group"] for item in items)}, items  # fmt: skip

    by_description, _ = groups("P2")  # says which modality it is
    assert list(by_description.values()) == [{"film with"}, {"film without"}, {"slice with"}, {"slice without"}]
    by_name, items = groups("P0")  # "lungs", whatever the modality
    assert list(by_name.values()) == [{"film with", "slice with"}, {"film without", "slice without"}]
    assert all((one["caption"] == two["caption"]) == (one["group"] == two["group"]) for one in items for two in items)
    for kind in ("P1", "P3", None):
        assert all(item["group"] == item["caption"] for item in groups(kind)[1])


def test_findings_of_one_task_may_be_a_plain_list():
    findings = FINDINGS["breast_ultrasound"]
    dataset = SimulatedDataset("breast_ultrasound", [1], size=32, findings=findings)
    assert [item["finding"] for item in dataset] == list(findings)
    assert not dataset[len(findings) - 1]["mask"].any() and dataset[0]["mask"].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "liver"}, "unknown task 'liver'"),
        ({"task": []}, "task is empty"),
        ({"task": ["lung_ct", "lung_ct"]}, "task has 'lung_ct' more than once"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": range(0)}, r"seeds is range\(0, 0\): give at least one"),
        ({"seeds": range(-2, 3)}, r"seeds is range\(-2, 3\): give at least one non-negative"),
        ({"seeds": [3, -1]}, "seeds has -1: give non-negative integers"),
        ({"seeds": [0.5]}, "seeds has 0.5"),
        ({"seeds": [1, 2, 1]}, "seeds has 1 more than once"),
        ({"size": 8}, "size is 8: simulated images have 32 to 1024"),
        ({"size": None}, "size is None: simulated images have 32 to 1024"),
        ({"findings": ["glioma"]}, "lung_ct has no finding 'glioma'; choose from clear"),
        ({"findings": "clear"}, r"findings is 'clear': give a sequence, \['clear'\]"),
        ({"findings": []}, "findings is empty"),
        ({"findings": {"lung_xray": ["clear"]}}, "findings names the tasks lung_xray, but chosen are lung_ct"),
        ({"caption_kind": "P5"}, "caption_kind is 'P5'; choose from P0, P1, P2, P3, or None"),
    ],
)
def test_bad_arguments_of_simulated_datasets(arguments, message):
    with pytest.raises(ValueError, match=message):
        SimulatedDataset(**{"task": "lung_ct", "seeds": range(3)} | arguments)


# Caption tables


def test_a_plain_table(captions):
    dataset = captions(f"filepath,caption\na.png,{LONG.format(1)}\nb.png,short\n")
    assert [(row.path.name, row.caption) for row in dataset.rows] == [("a.png", LONG.format(1))]
    assert dataset.n_dropped == 1
    assert dataset[0]["name"] == "a.png" and dataset[0]["path"].endswith("a.png") and dataset[0]["image"].max() == 0
    assert_valid(dataset[0])


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("filepath\ttitle", "\t"),
        ("filename;caption", ";"),
        ("File Name,Caption", ","),
        (" image_path , TEXT ", ","),
        ('"image","caption"', ","),
    ],
)
def test_column_names_and_separators_are_found(captions, header, separator):
    dataset = captions(f"\n{header}\nb.png{separator}{LONG.format(1)}\n")
    assert (dataset.rows[0].path.name, len(dataset)) == ("b.png", 1)


def test_the_name_is_preferred_to_the_running_number_as_in_roco(captions):
    dataset = captions(f"id\tname\tcaption\nROCO_00001\tb.png\t{LONG.format(1)}\n")
    assert dataset.rows[0].path.name == "b.png"


def test_a_name_without_extension_is_the_one_file_of_that_stem(captions):
    dataset = captions(f"ID;Caption\nROCOv2_000001;{LONG.format(1)}\n", ["ROCOv2_000001.jpg", "b.png"])
    assert dataset.rows[0].path.name == "ROCOv2_000001.jpg"
    with pytest.raises(ValueError, match=r"'ROCOv2_000001' may be any of ROCOv2_000001.jpg, ROCOv2_000001.png: name"):
        captions(f"ID;Caption\nROCOv2_000001;{LONG.format(1)}\n", ["ROCOv2_000001.png"])


def test_named_columns_and_separator_win(captions):
    content = f"caption|filename|figure|finding\nx|y|c.png|{LONG.format(3)}\n"
    dataset = captions(content, separator="|", image_column="figure", caption_column="finding")
    assert (dataset.rows[0].path.name, dataset.rows[0].caption) == ("c.png", LONG.format(3))


def test_odd_content_is_read_as_it_was_meant(captions):
    """A byte order mark, Windows line ends, quoted separators, line breaks and quotes, accents, blank lines."""
    caption = 'Œdème “cookie” sign,\r\nsee the ""star"";\tleft  lung'
    content = f'\ufefffilepath,caption\r\n\r\na.png,"{caption}"\r\n   \r\nb.png,a 5" line beside the trachea\r\n'
    dataset = captions(content)
    assert [row.caption for row in dataset.rows] == [
        'Œdème “cookie” sign, see the "star"; left lung',
        'a 5" line beside the trachea',
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends_of_any_system(captions, ending, last):
    lines = ["filepath\tcaption", f"a.png\t{LONG.format(1)}", f"b.png\t{LONG.format(2)}"]
    assert len(captions(ending.join(lines) + ending * last)) == 2


def test_captions_of_exactly_the_minimum_are_kept_and_blanks_do_not_count(captions):
    rows = ["filepath,caption", "a.png," + 20 * "x", "b.png," + 19 * "x", f"c.png,{'x' * 10}{' ' * 15}{'x' * 8}"]
    dataset = captions("\n".join(rows))
    assert [row.path.name for row in dataset.rows] == ["a.png"] and dataset.n_dropped == 2
    assert len(captions("\n".join(rows), min_caption_length=19)) == 3
    assert len(captions("filepath,caption\na.png,\nb.png,y", min_caption_length=0)) == 1


DASHES = ["-" * 30, "_" * 30, ". . . ? ! …", "\u200b\ufeff"]
NOTHING = ["", *DASHES, "nan", "NaN", "-NaN", "None", "NULL", "N/A", "<NA>", "#n/a"]


@pytest.mark.parametrize("nothing", NOTHING)
def test_captions_that_say_nothing_are_dropped_whatever_their_length(captions, nothing):
    rows = ["filepath,caption", f"a.png,{nothing}", f"b.png,{LONG.format(1)}", f"nowhere.png,{nothing}"]
    for length in (0, 20):
        dataset = captions("\n".join(rows), min_caption_length=length)
        assert [row.path.name for row in dataset.rows] == ["b.png"] and dataset.n_dropped == 2
    with pytest.raises(ValueError, match=r"none of the 3 captions in .* \(2 are empty, without letters"):
        captions("\n".join([*rows[:2], rows[3], "b.png,x"]), min_caption_length=2)


@pytest.mark.parametrize("caption", ["7", "é", "肺", "nano", "none seen", "X-ray"])
def test_captions_that_say_little_are_kept(captions, caption):
    dataset = captions(f"filepath,caption\na.png,{caption}", min_caption_length=0)
    assert [row.caption for row in dataset.rows] == [caption]


def test_missing_images_are_all_listed_at_once(captions):
    rows = [f"{name}.png,{LONG}" for name in "abuvwxyz"]
    with pytest.raises(ValueError, match=r"6 of 8 images are not in .*: u.png, .* y.png and 1 more. Say where they .*"):
        captions("\n".join(["filepath,caption", *rows]))


def test_images_of_dropped_captions_need_not_exist(captions):
    assert len(captions(f"filepath,caption\nnowhere.png,short\na.png,{'x' * 30}\n")) == 1


def test_the_image_folder_and_absolute_paths(tmp_path, captions):
    inside = save(tmp_path / "deep" / "images" / "d.png", grey(77))
    dataset = captions(f"filepath,caption\nimages/d.png,{LONG}\n", image_folder=tmp_path / "deep")
    assert dataset.rows[0].path == inside and dataset[0]["image"].max() == 77
    dataset = captions(f"filepath,caption\n{inside},{LONG}\n", image_folder=tmp_path / "nowhere")
    assert dataset.rows[0].path == inside


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the table is empty: it needs a header line"),
        ("filepath,caption\n", "none of the 0 captions in column 'caption'"),
        ("filepath,caption\na.png,short\n", "none of the 1 captions in column 'caption' has 20 characters or more"),
        ("one,two\na.png,b", r"has the columns 'one', 'two', none of which is known: say which .* image_column="),
        ("filepath,two\na.png,b", r"has the columns 'filepath', 'two', none .* caption_column="),
        (
            "filepath,caption\na.png,one, and two unquoted\n",
            r"line 2 has 3 fields, the header has 2: quote .* separator ','",
        ),
        ("filepath,caption\na.png\n", "line 2 has 1 fields, the header has 2"),
        ('filepath,caption\na.png,"never closed\n\n', "line 3 cannot be read .*: a quote that opens a field must also"),
        ('filepath,caption\na.png,"closed" too early\n', "line 2 cannot be read"),
        ("filepath,caption\na.png,Kr\xf6nlein\n".encode("latin-1"), "byte 0xf6 is not UTF-8: save the table as UTF-8"),
        ("filepath,caption\n".encode("utf-16"), "byte 0xff is not UTF-8"),
        (f"filepath,caption\n,{'x' * 30}\n", r"1 of 1 images are not in .*: \(an empty name\)"),
    ],
)
def test_bad_tables_say_what_is_wrong(captions, content, message):
    with pytest.raises(ValueError, match=r"table\.csv.*" + message):
        captions(content)


def test_wrong_column_names_and_a_missing_table(captions, tmp_path):
    with pytest.raises(ValueError, match="columns 'filepath', 'caption', but image_column is 'path': give one of them"):
        captions("filepath,caption\na.png,b\n", image_column="path")
    with pytest.raises(ValueError, match=r"nowhere\.csv: there is no such file"):
        CaptionCSV(tmp_path / "nowhere.csv")
    for separator in ("", "||"):
        with pytest.raises(ValueError, match=f"separator is '{re.escape(separator)}': give one character"):
            captions("filepath,caption\na.png,b\n", separator=separator)


def test_a_picture_that_cannot_be_read_is_named_when_it_is_asked_for(captions, tmp_path):
    dataset = captions(f"filepath,caption\na.png,{'x' * 30}\n")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    with pytest.raises(ValueError, match=r"a\.png: this PNG file cannot be decoded"):
        dataset[0]


@pytest.fixture
def repeated(captions):
    """40 images with 1, 2 or 3 captions each, in turns; one of them spelled in two ways."""
    names = [f"{number:02d}.png" for number in range(40)]
    rows = [f"{name},{'x' * 20} {turn}" for turn in range(3) for number, name in enumerate(names) if number % 3 >= turn]
    return captions("\n".join(["filepath,caption", *rows, f"./00.png,{'x' * 20} again"]), names)


def test_a_split_divides_by_image_and_loses_nothing(repeated):
    train, validation = repeated.split()
    files = [{row.path.resolve() for row in part.rows} for part in (train, validation)]
    assert not files[0] & files[1] and [len(part) for part in files] == [34, 6]
    assert len(train) + len(validation) == len(repeated)
    order = {row: index for index, row in enumerate(repeated.rows)}
    for part in (train, validation):
        positions = [order[row] for row in part.rows]
        assert positions == sorted(positions)
    assert_valid(validation[0])


def test_a_split_is_reproducible_and_leaves_the_dataset_alone(repeated):
    before = repeated.rows
    splits = [repeated.split(seed=seed)[1].rows for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2] and repeated.rows == before
    train, validation = repeated.split(0.5)
    train.transform = lambda item: {}
    assert train[0] == {} and validation[0] != {} and repeated[0] != {}


@settings(max_examples=25, deadline=None)
@given(st.floats(0.001, 0.999), st.integers(0, 2**32))
def test_both_sides_of_a_split_have_images(small_table, share, seed):
    train, validation = small_table.split(share, seed)
    assert len(train) and len(validation) and len(train) + len(validation) == 4
    assert abs(len(validation) - 4 * share) <= 1


@pytest.fixture(scope="module")
def small_table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    for name in "abcd":
        save(folder / f"{name}.png", grey(1))
    (folder / "table.csv").write_text("\n".join(["filepath,caption", *(f"{name}.png,{'x' * 20}" for name in "abcd")]))
    return CaptionCSV(folder / "table.csv")


def test_splits_that_cannot_be_made_are_refused(captions, repeated):
    for share in (0, 1, 15, float("nan")):
        with pytest.raises(ValueError, match=r"validation is .*: give the fraction of images between 0 and 1"):
            repeated.split(share)
    with pytest.raises(ValueError, match="belong to one image file: a split needs at least two"):
        captions(f"filepath,caption\na.png,{'x' * 30}\na.png,{'y' * 30}\n").split()


# Folders of masks


def test_pairs_are_made_by_stem_whatever_the_extension_and_the_order(folder, tmp_path):
    dataset = folder(["b.PNG", "a (1).jpg", "c.d.png"], ["c.d.png", "a (1).png", "b.tif"])
    assert [item["name"] for item in dataset] == ["a (1)", "b", "c.d"]
    assert [[path.name for path in pair] for pair in dataset.pairs.values()] == [
        ["a (1).jpg", "a (1).png"],
        ["b.PNG", "b.tif"],
        ["c.d.png", "c.d.png"],
    ]
    for item in dataset:
        assert_valid(item)
        assert item["image"].shape == (3, 12, 10) and (item["mask"].numpy() == (square_mask() > 0)).all()
        assert item["path"].startswith(str(tmp_path))


def test_splits_do_not_mix(folder):
    assert len(folder(["a.png", "b.png"], ["a.png", "b.png"])) == 2
    assert len(folder(["c.png"], ["c.png"], split="test")) == 1
    with pytest.raises(
        ValueError, match=r"has no folder val_images and no folder val_masks \(there is test_images, te"
    ):
        MaskFolder(folder(["a.png"], ["a.png"], split="test").root, "val")


def test_what_is_not_a_picture_is_ignored(folder, tmp_path):
    (tmp_path / "train_images" / "thumbnails").mkdir(parents=True)
    dataset = folder(["a.png", "Thumbs.db", ".DS_Store", "._a.png", "notes.txt"], ["a.png", "desktop.ini", ".b.png"])
    assert len(dataset) == 1


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        ("abc", "ab", r"train: 1 images without mask: c\.png\. Partners have the same name"),
        ("a", "abz", r"train: 2 masks without image: b\.png, z\.png\. Partners"),
        ("ac", "ab", r"1 images without mask: c\.png; 1 masks without image: b\.png"),
        ("aB", "ab", r"without mask: B\.png; 1 masks without image: b\.png\. .* upper and lower case included"),
        ("abcdefgh", "h", r"7 images without mask: a\.png, b\.png, c\.png, d\.png, e\.png and 2 more"),
    ],
)
def test_every_file_without_a_partner_is_listed(folder, images, masks, message):
    with pytest.raises(ValueError, match=message):
        folder([f"{name}.png" for name in images], [f"{name}.png" for name in masks])


def test_ignored_files_are_mentioned_where_a_partner_is_missing(folder):
    with pytest.raises(ValueError, match=r"without mask: b\.png \(ignored: b\.bmp\)"):
        folder(["a.png", "b.png"], ["a.png", "b.bmp"])


def test_two_files_of_one_stem_are_refused(folder):
    with pytest.raises(ValueError, match=r"train_images has a\.jpg and a\.png, which share the stem 'a': remove"):
        folder(["a.png", "a.jpg"], ["a.png"])


def test_missing_and_empty_folders_say_what_is_expected(folder, tmp_path):
    with pytest.raises(ValueError, match=r"no folder train_masks .*no folder\): the layout is train_images/ and tr"):
        (tmp_path / "x" / "train_images").mkdir(parents=True)
        (tmp_path / "x" / "train_images").rename(tmp_path / "y")
        MaskFolder(tmp_path / "x")
    with pytest.raises(ValueError, match=r"nowhere has no folder train_images .*\(no such folder\)"):
        MaskFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"train_images has no images \(ignored: notes.txt\): it should hold \.nii"):
        folder(["notes.txt"], ["a.png"])


def test_an_image_and_a_mask_of_other_size_are_both_named(folder, tmp_path):
    dataset = folder(["a.png"], ["a.png"], size=32)
    save(tmp_path / "train_masks" / "a.png", square_mask().T)
    with pytest.raises(ValueError, match=r"images/a\.png is 12 × 10 .*masks/a\.png is 10 × 12: export both"):
        dataset[0]


def test_dicom_names_without_extension_are_paired(folder, tmp_path):
    folder(["a.png"], ["a.png"])
    for kind in ("images", "masks"):
        for name in ("IM0001", "1.2.840.113619.2"):
            save(tmp_path / f"train_{kind}" / "x.png", square_mask()).rename(tmp_path / f"train_{kind}" / name)
    assert list(MaskFolder(tmp_path).pairs) == ["1.2.840.113619.2", "IM0001", "a"]


@pytest.mark.parametrize(
    "pixels",
    [
        square_mask(255),
        square_mask(1),
        square_mask(37),
        square_mask(1) * 200 + 20,
        square_mask(1, dtype=np.uint16),
        square_mask(255, dtype=np.uint16),
        square_mask(65535, dtype=np.uint16),
        square_mask(0.9, dtype=np.float32) + np.float32(0.2) * (square_mask(1) == 0),
        square_mask(1).astype(bool),
        np.stack([square_mask(128), square_mask(0), square_mask(0)], axis=2),
        np.stack([square_mask(255), square_mask(255), square_mask(255), grey(255)], axis=2),
    ],
    ids=[
        "0/255",
        "0/1",
        "0/37",
        "20/220",
        "16-bit 0/1",
        "16-bit 0/255",
        "16-bit white",
        "float",
        "1-bit",
        "red",
        "rgba",
    ],
)
def test_masks_however_they_were_written(tmp_path, pixels):
    assert (read_mask(save(tmp_path / "mask.tif", pixels)) == (square_mask() > 0)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_masks_that_are_empty_or_full(tmp_path, dtype):
    assert not read_mask(save(tmp_path / "mask.tif", np.zeros((9, 9), dtype))).any()
    assert read_mask(save(tmp_path / "mask.tif", np.ones((9, 9), dtype))).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_label_counts(tmp_path, dtype):
    labels = np.zeros((30, 30), dtype)
    labels[:10], labels[10:14], labels[20:22] = 1, 2, 3
    assert (read_mask(save(tmp_path / "mask.tif", labels)) == (labels > 0)).all()


def test_the_rim_that_jpeg_leaves_falls_to_its_nearer_side(tmp_path):
    mask = np.hypot(*(np.mgrid[:64, :64] - 32)) < 20
    path = save(tmp_path / "mask.jpg", 255 * mask.astype(np.uint8), quality=60)
    stored = np.asarray(Image.open(path))
    assert len(np.unique(stored)) > 20 and ((stored > 0) != mask).sum() > 100
    assert ((read_mask(path) != mask).sum()) <= 5


def test_volumes_pair_by_stem_and_use_the_same_slice(tmp_path):
    volume = np.zeros((10, 12, 5), np.int16)
    volume[2:5, 3:9, 2] = 2
    for kind, values in (("images", 100 * volume), ("masks", volume)):
        (tmp_path / f"test_{kind}").mkdir()
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"test_{kind}" / "case.nii.gz")
    item = MaskFolder(tmp_path, "test")[0]
    assert item["name"] == "case" and item["mask"].sum() == 18
    assert torch.equal(item["mask"], item["image"][0] == 255)


def test_masks_with_nan_are_refused_by_name(tmp_path):
    path = save(tmp_path / "mask.tif", np.where(square_mask() > 0, np.nan, 0).astype(np.float32))
    with pytest.raises(ValueError, match=r"mask\.tif: 20 of 120 values are NaN"):
        read_mask(path)


def test_size_stretches_image_and_mask_together(folder):
    item = folder(["a.png"], ["a.png"], size=40)[0]
    assert_valid(item, 40)
    assert item["mask"].float().mean() == pytest.approx(20 / 120, abs=0.02)


def volume(path, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.arange(120, dtype=np.int16).reshape(6, 5, 4) % 7
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def pages(path, n):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.stack([square_mask()] * n), photometric="minisblack")


OTHER_PLACES = {
    "a picture for a volume": (volume, "a.nii", lambda path: save(path, grey(1, 5, 6)), "a.png", "has 4 slices or fr"),
    "thicker slices": (
        volume,
        "a.nii",
        lambda path: volume(path, np.diag([1, 1, 2, 1])),
        "a.nii",
        "the affines differ",
    ),
    "turned about": (
        volume,
        "a.nii",
        lambda path: volume(path, np.diag([-1, -1, 1, 1])),
        "a.nii",
        "the affines differ",
    ),
    "smaller pixels": (
        volume,
        "a.nii",
        lambda path: volume(path, np.diag([0.5, 1, 1, 1])),
        "a.nii",
        "have other sizes",
    ),
    "pages for a picture": (lambda path: save(path, grey(1)), "a.png", lambda path: pages(path, 3), "a.tif", "has 3"),
    "fewer pages": (lambda path: pages(path, 3), "a.tif", lambda path: pages(path, 2), "a.tif", "mask .* has 2"),
}


@pytest.mark.parametrize(("image", "its_name", "mask", "name", "message"), OTHER_PLACES.values(), ids=OTHER_PLACES)
def test_an_image_and_a_mask_of_another_place_or_of_other_parts_are_refused(
    tmp_path, image, its_name, mask, name, message
):
    image(tmp_path / "train_images" / its_name)
    mask(tmp_path / "train_masks" / name)
    with pytest.raises(ValueError, match=message):
        MaskFolder(tmp_path)[0]


def test_the_first_page_and_a_mask_of_one(tmp_path):
    pages(tmp_path / "train_images" / "a.tif", 2)
    save(tmp_path / "train_masks" / "a.png", square_mask())
    assert MaskFolder(tmp_path)[0]["mask"].sum() == 20
