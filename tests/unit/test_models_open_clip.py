"""Real architectures through the same door, with random weights and without a network: BiomedCLIP, hub, open_clip."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import BertConfig

from medclipsam_utils import Segmenter, Task, load_sam, read_image
from medclipsam_utils.cli import main
from medclipsam_utils.finetune import FinetuneConfig, finetune
from medclipsam_utils.losses import DHNNCELoss
from medclipsam_utils.models import ModelError, load_clip, save_clip
from medclipsam_utils.models.hub import BIOMEDCLIP
from medclipsam_utils.settings import ANY, SETTINGS, read_task, settings_for

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "brain", "tumor", "##s", "in", "the")
PUBMEDBERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SMALL_BERT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


@pytest.fixture(autouse=True)
def models_folder(monkeypatch, tmp_path):
    """No network, an empty cache of the hub, and an empty models folder, which is returned."""

    def refuse(*arguments, **options):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MEDCLIPSAM_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def write_folder(folder, *, vision="vit_base_patch16_224", text=PUBMEDBERT, embed_dim=512, size=224):
    """All files of a folder like BiomedCLIP's but the weights, with a vocabulary of a few words."""
    folder.mkdir(parents=True, exist_ok=True)
    text_cfg = {
        "hf_model_name": text,
        "hf_tokenizer_name": text,
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    }
    vision_cfg = {"timm_model_name": vision, "timm_pool": "", "timm_proj": "linear", "image_size": size}
    model_cfg = {"embed_dim": embed_dim, "vision_cfg": vision_cfg, "text_cfg": text_cfg}
    config = {"model_cfg": model_cfg, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return model_cfg


def build(model_cfg, text_folder):
    text_cfg = {**model_cfg["text_cfg"], "hf_model_name": str(text_folder), "hf_model_pretrained": False}
    return open_clip.CustomTextCLIP(**{**model_cfg, "text_cfg": text_cfg})


@pytest.fixture
def small(tmp_path):
    """A complete folder of a small model, and the model whose weights are in it."""
    folder = tmp_path / "small"
    model_cfg = write_folder(folder, vision="vit_tiny_patch16_224", text="org/small-bert", embed_dim=32)
    BertConfig(vocab_size=len(WORDS), **SMALL_BERT).save_pretrained(folder)
    torch.manual_seed(0)
    model = build(model_cfg, folder).eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder, model


def image(height=50, width=90):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


# BiomedCLIP


def test_biomedclip_in_its_real_size(models_folder, tmp_path):
    """The weights are random, and all parts of one block of noise, so that the file is small and quick to write."""
    folder = models_folder / "biomedclip"
    model_cfg = write_folder(folder)
    BertConfig().save_pretrained(tmp_path / "bert")
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in build(model_cfg, tmp_path / "bert").state_dict().items()}
    noise = 0.02 * torch.randn(
        max(shape.numel() for shape in shapes.values()), generator=torch.Generator().manual_seed(0)
    )
    weights = {name: noise[: shape.numel()].reshape(shape) for name, shape in shapes.items()}
    # A buffer that older versions of transformers saved, and that the real file has.
    weights["text.transformer.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save(weights, folder / "open_clip_pytorch_model.bin")

    clip = load_clip("biomedclip")

    assert sum(parameter.numel() for parameter in clip.model.parameters()) / 1e6 == pytest.approx(195.9, abs=0.05)
    assert (clip.name, clip.image_size, clip.grid_size) == ("biomedclip", 224, (14, 14))
    assert clip.mean == MEAN and clip.std == STD and not clip.model.training
    assert clip.tokenize("Brain tumors").tolist() == [[2, 6, 7, 8, 3] + [0] * 251]
    assert clip.unknown_words("liver") == {}
    features = clip.encode_image(image()), clip.encode_text(["a brain"])
    for embedding in features:
        assert embedding.shape == (1, 512) and embedding.norm().item() == pytest.approx(1, abs=1e-5)
    assert clip.encode_text([]).shape == clip.encode_image([]).shape == (0, 512)
    own = clip.model.state_dict()
    assert all(torch.equal(own[name], weights[name]) for name in own)

    quick = SETTINGS["biomedclip"][ANY].changed({"samples": 1})
    segmenter = Segmenter(clip, load_sam("tiny"), {ANY: quick})
    polyp = Task("polyp", "colonoscopy", "colon polyp", {"P0": "a colon polyp"}, settings={"visual_prompt": "both"})
    for answer in (segmenter.segment(image(), "colon polyp"), segmenter.segment(image(), task=polyp)):
        assert answer.mask.shape == (50, 90) and answer.presence.reason
    assert settings_for(clip) == SETTINGS["biomedclip"][ANY]


def test_any_target_with_a_model_in_a_folder(small, tmp_path, monkeypatch, capsys):
    """From Python and from the command line: words alone, a task in a file, its calibration, and a folder."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for number in range(20):
        Path("normal").mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(f"normal/{number}.png")
    Path("polyp.toml").write_text(
        'target = "colon polyp"\nmodality = "colonoscopy"\ncalibration = "polyp.safetensors"\n'
        '[prompts]\nP0 = ["colon polyp", "a polyp of the colon"]\n[settings]\nsamples = 1\nvisual_prompt = "point"\n'
    )
    model = ["--clip", str(small[0])]
    assert main(["calibrate", "normal", "-o", "polyp.safetensors", *model]) == 0
    assert main(["segment", "normal/0.png", "a colon polyp", "-o", "words.png", *model]) == 0
    assert "'a colon polyp', no known target" in capsys.readouterr().out
    assert main(["segment", "normal/0.png", "--task", "polyp.toml", *model]) == 0
    printed = capsys.readouterr()
    assert "as polyp" in printed.out and "against images without it" in printed.out and Path("0_polyp.png").is_file()
    assert "no target that the small CLIP" not in printed.err
    assert main(["folder", "normal", "out", "--task", "polyp.toml", "--quiet", *model]) == 0
    assert Path("out/results.csv").read_text().count(",polyp,") == 20

    clip = load_clip(small[0])
    task = read_task("polyp.toml")
    answer = Segmenter(clip, load_sam("tiny")).segment(read_image("normal/0.png"), task=task)
    assert answer.present is not None and len(answer.points) == 1
    clip.model.logit_scale.data += 1
    changed = Segmenter(clip, load_sam("tiny")).segment(read_image("normal/0.png"), task=task)
    assert changed.present is None and "was made with other weights" in changed.presence.reason


def test_a_fine_tuned_model_is_saved_as_a_folder_that_loads(small, tmp_path):
    """A model with BiomedCLIP's parts, small: it is trained, and its folder gives the trained model back."""
    clip = load_clip(small[0])
    before = clip.encode_image(image()), clip.encode_text(["a brain"])
    images = [torch.from_numpy(image(40 + number, 60)).movedim(2, 0) for number in range(4)]
    items = [{"image": picture, "caption": "a brain"} for picture in images]
    config = FinetuneConfig(epochs=1, batch_size=2, learning_rate=1e-3)
    finetune(clip, items, DHNNCELoss(), config, folder=tmp_path / "run", progress=False)
    weights = json.loads((tmp_path / "run" / "run.json").read_text())["weights"]

    again = load_clip(tmp_path / "run" / weights)

    after = clip.encode_image(image()), clip.encode_text(["a brain"])
    for trained, loaded, untrained in zip(
        after, (again.encode_image(image()), again.encode_text(["a brain"])), before, strict=True
    ):
        assert torch.equal(loaded, trained) and not torch.allclose(trained, untrained, atol=1e-3)
    assert (again.image_size, again.mean, again.std) == (clip.image_size, clip.mean, clip.std)
    assert json.loads((tmp_path / "run" / weights / "trained.json").read_text())["config"]["batch_size"] == 2


def test_a_model_is_not_saved_over_another_folder(small, tmp_path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(ModelError, match="something else under this name"):
        save_clip(tmp_path / "notes", load_clip(small[0]), {})
    assert (tmp_path / "notes").is_dir() and not list(tmp_path.glob(".*part"))


def test_biomedclip_that_cannot_be_had_says_what_to_put_where(models_folder):
    with pytest.raises(ModelError) as caught:
        load_clip("biomedclip")
    message = str(caught.value)
    folder = models_folder / "biomedclip"
    assert f"biomedclip: it is not in {folder}" in message
    assert f"`hf download {BIOMEDCLIP} --local-dir {folder}`" in message
    assert f"https://huggingface.co/{BIOMEDCLIP}" in message
    for file in ("open_clip_config.json", "open_clip_pytorch_model.bin", "tokenizer.json", "tokenizer_config.json"):
        assert file in message


# Folders


def test_a_folder_gives_the_model_that_was_saved(small):
    folder, model = small
    clip = load_clip(folder)
    pixels, tokens = clip.preprocess(image()), clip.tokenize(["a brain", "the tumor in the brain"])
    with torch.no_grad():
        assert torch.equal(clip.encode_image(image()), model.encode_image(pixels, normalize=True))
        assert torch.equal(clip.encode_text(["a brain"]), model.encode_text(tokens[:1], normalize=True))
    assert clip.encode_text([]).shape == clip.encode_image([]).shape == (0, 32)
    assert clip.name == "small" and clip.similarity([image(), image(20, 20)], ["a", "the brain"]).shape == (2, 2)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("open_clip_config.json", r"lacks open_clip_config.json\. Copy"),
        ("open_clip_model.safetensors", r"lacks open_clip_model.safetensors or open_clip_pytorch_model.bin\."),
        ("vocab.txt", r"lacks tokenizer.json or vocab.txt\."),
        ("config.json", r"lacks config.json \(of the repository org/small-bert\)\."),
    ],
)
def test_a_folder_that_lacks_a_file_says_which(small, file, message):
    (small[0] / file).unlink()
    with pytest.raises(ModelError, match=r"small: this folder " + message):
        load_clip(small[0])


class Evil:
    def __reduce__(self):
        return print, ("this file runs code",)


def damage_config(folder):
    (folder / "open_clip_config.json").write_text('{"model_cfg": 3}')


def damage_json(folder):
    (folder / "open_clip_config.json").write_text("{")


def cut_weights(folder):
    path = folder / "open_clip_model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def weights_that_run_code(folder):
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"logit_scale": Evil()}, folder / "open_clip_pytorch_model.bin")


def weights_of_another_model(folder):
    BertConfig(vocab_size=len(WORDS), **SMALL_BERT | {"num_hidden_layers": 3}).save_pretrained(folder)


def a_tokenizer_without_words(folder):
    (folder / "vocab.txt").write_text("\n".join(WORDS[:5]) + "\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_config, r"open_clip_config.json: it has no model_cfg with a text_cfg in JSON \(TypeError\)"),
        (damage_json, r"open_clip_config.json: it has no model_cfg .* \(JSONDecodeError\)"),
        (cut_weights, r"small: the model cannot be made from this folder \(SafetensorError"),
        (weights_that_run_code, r"small: the model cannot be made from this folder \(UnpicklingError"),
        (weights_of_another_model, r"small: the model cannot be made from this folder \(RuntimeError"),
        (a_tokenizer_without_words, "small: its tokenizer knows no English word"),
    ],
)
def test_damaged_folders(small, capsys, damage, message):
    damage(small[0])
    with pytest.raises(ModelError, match=message):
        load_clip(small[0])
    assert "runs code" not in capsys.readouterr().out


# Checkpoints of training loops, and other layouts


def prefixed(prefix, weights):
    return {prefix + name: weight for name, weight in weights.items()}


CHECKPOINTS = {
    "open_clip": lambda weights: {"epoch": 32, "name": "run", "state_dict": weights, "optimizer": {"state": {}}},
    "DataParallel": lambda weights: {"epoch": 32, "state_dict": prefixed("module.", weights)},
    "plain": lambda weights: weights,
    "prefixed": lambda weights: prefixed("module.", weights),
    "Lightning": lambda weights: {"state_dict": prefixed("model.", weights), "global_step": 5},
    "nested": lambda weights: {"checkpoint": {"model": prefixed("_orig_mod.module.", weights)}},
}


@pytest.mark.parametrize("suffix", [".pt", ".bin"])
@pytest.mark.parametrize("layout", CHECKPOINTS)
def test_a_checkpoint_is_loaded_with_the_config_of_its_folder(small, layout, suffix):
    folder, model = small
    (folder / "open_clip_model.safetensors").rename(folder / "another.safetensors")
    path = folder / f"epoch_32{suffix}"
    torch.save(CHECKPOINTS[layout](model.state_dict()), path)
    clip = load_clip(path)
    assert clip.name == "epoch_32" and (clip.image_size, clip.mean) == (224, MEAN)
    own, saved = clip.model.state_dict(), model.state_dict()
    assert own.keys() == saved.keys() and all(torch.equal(own[name], saved[name]) for name in own)


def test_the_checkpoint_that_was_asked_for_is_loaded_and_no_other(small):
    folder, model = small
    for epoch in (1, 2):
        torch.save(
            {"state_dict": {**model.state_dict(), "logit_scale": torch.tensor(float(epoch))}}, folder / f"{epoch}.pt"
        )
    assert load_clip(folder / "1.pt").model.logit_scale.item() == 1
    assert load_clip(folder / "2.pt").model.logit_scale.item() == 2
    assert torch.equal(load_clip(folder).model.logit_scale, model.logit_scale)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.safetensors"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_a_folder_may_have_other_names(small, file, prefix):
    folder, model = small
    (folder / "open_clip_model.safetensors").unlink()
    weights = prefixed(prefix, model.state_dict())
    (save_file if file.endswith("safetensors") else torch.save)(weights, folder / file)
    clip = load_clip(folder)
    assert torch.equal(clip.model.visual.head.proj.weight, model.visual.head.proj.weight)


def test_a_safetensors_checkpoint_is_loaded_with_the_config_of_its_folder(small):
    folder, model = small
    (folder / "open_clip_model.safetensors").rename(folder / "epoch_3.safetensors")
    clip = load_clip(folder / "epoch_3.safetensors")
    assert torch.equal(clip.model.visual.head.proj.weight, model.visual.head.proj.weight)


def test_a_folder_with_checkpoints_alone_says_to_name_one(small):
    folder, model = small
    (folder / "open_clip_model.safetensors").unlink()
    for epoch in (1, 2):
        torch.save(model.state_dict(), folder / f"epoch_{epoch}.pt")
    with pytest.raises(ModelError, match=r"weights are in epoch_1.pt or epoch_2.pt, give the path of that file"):
        load_clip(folder)


@pytest.mark.parametrize("content", ["open_clip", "Hugging Face", "SAM", "nothing", "damaged", "code"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_a_checkpoint_without_a_folder_says_what_to_put_there(tmp_path, capsys, content, suffix):
    path = tmp_path / f"best{suffix}"
    contents = {
        "open_clip": ({"state_dict": {"module.visual.proj": torch.zeros(1)}}, r"the layout of open_clip \(visual"),
        "Hugging Face": ({"vision_model.x": torch.zeros(1)}, "the layout of Hugging Face's transformers"),
        "SAM": ({"model": {"image_encoder.pos_embed": torch.zeros(1)}}, "the layout of SAM"),
        "nothing": ({"epoch": 3}, "no weights"),
        "damaged": ({}, "contents that cannot be read"),
        "code": ({"logit_scale": Evil()}, r"contents that cannot be read without running code .* \(UnpicklingError\)"),
    }
    torch.save(contents[content][0], path)
    if content == "damaged":
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ModelError, match=contents[content][1]) as caught:
        load_clip(path)
    message = str(caught.value)
    assert "folder in open_clip's format: put open_clip_config.json beside the file" in message
    assert "tokenizer.json or vocab.txt" in message and "runs code" not in capsys.readouterr().out


@pytest.mark.parametrize("file", ["open_clip_pytorch_model.bin", "pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("part", ["vision_model.encoder.layers.", "text_model."])
def test_weights_with_the_names_of_transformers_are_told(small, file, part):
    folder, model = small
    (folder / "open_clip_model.safetensors").unlink()
    old = {"vision_model.encoder.layers.": "visual.trunk.blocks.", "text_model.": "text.transformer."}[part]
    weights = {name.replace(old, part): weight for name, weight in model.state_dict().items()}
    (save_file if file.endswith("safetensors") else torch.save)(weights, folder / file)
    with pytest.raises(
        ModelError, match=r"the layout of Hugging Face's transformers \(vision_model.*not that of open_"
    ):
        load_clip(folder)


def test_a_safetensors_file_without_a_folder_has_its_layout_named(tmp_path):
    path = tmp_path / "model.safetensors"
    for name, layout in (("visual.proj", "open_clip"), ("vision_model.x", "Hugging Face"), ("image_encoder.x", "SAM")):
        save_file({name: torch.zeros(1)}, path)
        with pytest.raises(ModelError, match=rf"the layout of {layout}.*put open_clip_config.json beside the file"):
            load_clip(path)


def test_a_folder_of_transformers_is_told_from_one_that_lacks_a_file(small):
    folder, _ = small
    (folder / "open_clip_config.json").unlink()
    (folder / "open_clip_model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"lacks open_clip_config.json. It may be in the layout of Hugging Face's"):
        load_clip(folder)


def test_weights_beside_those_of_the_clip_are_not_dropped_in_silence(small):
    folder, model = small
    path = folder / "run.ckpt"
    torch.save({"state_dict": {**prefixed("clip.", model.state_dict()), "head.weight": torch.zeros(2)}}, path)
    with pytest.raises(ModelError, match=r"start with 'clip\.' it has 1 others: head.weight"):
        load_clip(path)


# The hub


def put_into_cache(folder, repository, cache):
    """The files of ``folder`` as a snapshot in the cache of the hub."""
    entry = Path(cache) / f"models--{repository.replace('/', '--')}"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("0" * 40)
    (entry / "snapshots").mkdir()
    folder.rename(entry / "snapshots" / ("0" * 40))


def test_the_cache_of_the_hub_is_used_offline(small):
    put_into_cache(small[0], "org/small", huggingface_hub.constants.HF_HUB_CACHE)
    clip = load_clip("hf-hub:org/small")
    assert clip.name == "hf-hub:org/small" and clip.encode_text("a brain").shape == (1, 32)


def test_the_models_folder_comes_before_the_hub(small, models_folder):
    models_folder.mkdir()
    small[0].rename(models_folder / "small")
    assert load_clip("hf-hub:org/small").encode_text("a brain").shape == (1, 32)


def test_what_is_not_here_is_downloaded_in_one_format(small, monkeypatch):
    asked = []

    def snapshot(repository, allow_patterns=None, local_files_only=False):
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        asked.append((repository, allow_patterns))
        return str(small[0])

    monkeypatch.setattr("medclipsam_utils.models.hub.snapshot_download", snapshot)
    monkeypatch.setattr("medclipsam_utils.models.hub.file_exists", lambda repository, file: file.endswith(".bin"))
    assert load_clip("hf-hub:org/small").encode_text("a brain").shape == (1, 32)
    [(repository, files)] = asked
    assert repository == "org/small" and "open_clip_model.safetensors" not in files
    assert {"open_clip_config.json", "open_clip_pytorch_model.bin", "tokenizer.json", "config.json"} <= set(files)


@pytest.mark.parametrize("name", ["hf-hub:org/nowhere", "hf-hub:a/b/c", "hf-hub:"])
def test_repositories_that_cannot_be_had(name):
    with pytest.raises(ModelError):
        load_clip(name)


# open_clip's names


@pytest.mark.parametrize("name", ["ViT-B-32/random", "ViT-B/32/random"])
def test_random_weights_only_when_asked_for(name):
    clip = load_clip(name)
    assert (clip.name, clip.image_size, clip.grid_size) == ("ViT-B-32/random", 224, (7, 7))
    assert clip.image_tower is clip.model.visual and type(clip.model) is open_clip.CLIP
    assert clip.similarity(image(), ["a brain", "a liver"]).shape == (1, 2)
    assert clip.encode_text([]).shape == (0, 512) and clip.unknown_words("qwertz") == {}


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B/32"])
def test_an_architecture_without_weights_is_no_model(name):
    with pytest.raises(ModelError, match=r"without weights. Say which weights: ViT-B-32/openai, .*ViT-B-32/random"):
        load_clip(name)


def test_unknown_tags_and_weights_that_cannot_be_had():
    with pytest.raises(ModelError, match=r"open_clip has no weights 'opnai' for ViT-B-32. Choose ViT-B-32/openai"):
        load_clip("ViT-B-32/opnai")
    with pytest.raises(ModelError, match=r"ViT-B-32/laion2b_s34b_b79k: .*They come from laion/CLIP-ViT-B-32"):
        load_clip("ViT-B-32/laion2b_s34b_b79k")


def test_models_without_patches_have_no_grid():
    with pytest.raises(ModelError, match="ModifiedResNet, which has no grid of patches"):
        _ = load_clip("RN50/random").grid_size


@pytest.mark.parametrize("name", ["tiny2", "nowhere/x.safetensors", "ViT-B-33/openai"])
def test_unknown_names(name):
    message = "there is no model, no file and no folder of this name. Choose tiny, tiny-base, biomedclip, hf-hub:"
    with pytest.raises(ModelError, match=f"{name}: {message}"):
        load_clip(name)
