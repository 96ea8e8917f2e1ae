"""Put what the recipes trained into the package: half-precision weights, and their checksums.

    python -m recipes.ship --clip FOLDER --sam FOLDER

Half precision halves the files; what ``judge/report.py`` measures is measured on them. Once loaded, the weights are
single precision again.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path

from medclipsam_utils.models import load_clip, load_sam, save_tiny_clip, save_tiny_sam
from medclipsam_utils.models.checkpoints import CLIP_FORMAT, SAM_FORMAT, read_header
from medclipsam_utils.models.weights import FOLDER

from .sam.train import STAGES as SAM_STAGES

CLIPS = {
    "tiny_clip_tuned.safetensors": "tiny_clip.safetensors",
    "tiny_clip_base.safetensors": "tiny_clip_base.safetensors",
}
CLIP_LOGS = ("base", "regions", "tuned")  # of the stages that what is shipped went through
SAM_SOURCE, SAM_TARGET = "tiny_sam_fine.safetensors", "tiny_sam.safetensors"
LOGS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, required=True, help="the --work folder of clip/train.py")
    parser.add_argument("--sam", type=Path, required=True, help="the --work folder of sam/train.py")
    parser.add_argument("--weights", type=Path, default=FOLDER, metavar="FOLDER", help="of the package if not given")
    parser.add_argument("--logs", type=Path, default=LOGS, metavar="FOLDER", help="recipes/results if not given")
    options = parser.parse_args(arguments)
    options.weights.mkdir(parents=True, exist_ok=True)
    options.logs.mkdir(parents=True, exist_ok=True)
    for source, target in CLIPS.items():
        header = read_header(options.clip / source, CLIP_FORMAT)
        clip = load_clip(options.clip / source)
        save_tiny_clip(
            options.weights / target, clip.model.half(), header["vocabulary"], header["trained"], header["windows"]
        )
    header = read_header(options.sam / SAM_SOURCE, SAM_FORMAT)
    save_tiny_sam(options.weights / SAM_TARGET, load_sam(options.sam / SAM_SOURCE).model.half(), header["trained"])
    for stage in CLIP_LOGS:
        shutil.copy(options.clip / f"tiny_clip_{stage}.json", options.logs)
    for stage in SAM_STAGES:
        shutil.copy(options.sam / f"tiny_sam_{stage}.json", options.logs)
    write_checksums(options.weights)


def write_checksums(folder: Path) -> None:
    """Write down the SHA-256 of all weights and calibrations of a folder, in the format of ``sha256sum``."""
    files = sorted(folder.glob("*.safetensors"))
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB in {folder}")


if __name__ == "__main__":
    main()
