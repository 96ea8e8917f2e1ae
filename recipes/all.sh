#!/usr/bin/env bash
# Make everything that the recipes have put into this repository, in order: bash recipes/all.sh FOLDER [--quick]
#
# FOLDER keeps simulated images, checkpoints and finished parts, 4 GB in all. The same line continues a run that was
# interrupted: trainings and measurements go on where they were, what chooses and judges starts anew. Times are those of
# one core of an AMD EPYC server processor, 30 hours in all; what measure/ does in parts runs on all cores at once.
#
# With --quick each command that can be made brief is, and all results stay in FOLDER/quick: minutes, to see it run.
# PYTHON=… names another Python than that of .venv.
set -euo pipefail
usage="bash recipes/all.sh FOLDER [--quick]: FOLDER keeps images, checkpoints and finished parts"
[ $# -ge 1 ] && [ $# -le 2 ] && [ "${2:---quick}" = --quick ] || { echo "$usage" >&2; exit 2; }
quick=${2:-}
mkdir -p "$1"
work=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

weights=medclipsam_utils/models/weights logs=recipes/results results=medclipsam_utils/results
tables=book/measured picture=book/_static/small_models.jpg few=""
if [ -n "$quick" ]; then
    work=$work/quick weights=$work/weights logs=$work/logs results=$work/results
    tables=$work/tables picture=$work/small_models.jpg few="--images 2 --kinds P0 --betas 0.1 --variances 4"
    mkdir -p "$results"
fi
run() { # a recipe and its arguments
    echo "== python -m recipes.$*"
    "${PYTHON:-.venv/bin/python}" -m "recipes.$@"
}

# 1. The small CLIP, from captions alone. Two hours and a quarter, after drawing 16,000 images; the other trainings draw
#    16,000 more, and share them.
run clip.train base --work "$work" $quick

# 2. The same from captions and simulated regions: it learns where, not only whether. 106 minutes.
run clip.train regions --work "$work" $quick

# 3. A second stage from there, with more brains. 108 minutes.
run clip.train tuned --work "$work" $quick

# 4. The small SAM: what boxes and points mean, and rough contours. 105 minutes.
run sam.train coarse --work "$work" $quick

# 5. A second stage from there: contours. 92 minutes.
run sam.train fine --work "$work" $quick

# 6. Try settings of the saliency for each task on validation images, and print the best. About three hours. You write
#    the choice into medclipsam_utils/settings/chosen.py.
run judge.choose_saliency --clip "$work/tiny_clip_tuned.safetensors" --sam "$work/tiny_sam_fine.safetensors" $few

# 7. The same for the CLIP that learned from captions alone, without masks. A quarter of an hour.
run judge.choose_without_masks --clip "$work/tiny_clip_base.safetensors" ${quick:+--images 1}

# 8. Put the weights into the package, in half precision, and the logs of their trainings beside the recipes. Seconds.
#    writes medclipsam_utils/models/weights/tiny_clip.safetensors
#    writes medclipsam_utils/models/weights/tiny_clip_base.safetensors
#    writes medclipsam_utils/models/weights/tiny_sam.safetensors
#    writes medclipsam_utils/models/weights/SHA256SUMS
#    writes recipes/results/tiny_clip_base.json recipes/results/tiny_clip_regions.json
#    writes recipes/results/tiny_clip_tuned.json recipes/results/tiny_sam_coarse.json recipes/results/tiny_sam_fine.json
run ship --clip "$work" --sam "$work" --weights "$weights" --logs "$logs"

# 9. Calibrate the test of presence for these weights. A quarter of an hour.
#    writes medclipsam_utils/models/weights/presence.safetensors
run judge.calibrate_presence --weights "$weights" $quick

# 10. Judge the small models on the judge's seeds: the tables of their cards. About ten minutes.
#    writes book/measured/tiny/classification.md book/measured/tiny/confusion.md book/measured/tiny/masks.md
#    writes book/measured/tiny/presence.md book/measured/tiny/presets.md book/measured/tiny/retrieval.md
#    writes book/measured/tiny/sam.md book/measured/tiny/words.md
run judge.report --tables "$tables/tiny" $quick

# 11. The same for the CLIP that learned from captions; its card shows three of the tables. About ten minutes.
#    writes book/measured/tiny-base/presence.md book/measured/tiny-base/retrieval.md book/measured/tiny-base/words.md
run judge.report --clip tiny-base --tables "$tables/tiny-base" --only presence retrieval words $quick

# 12. Draw what the two models make of the first image of each task. Seconds.
#     writes book/_static/small_models.jpg
run judge.draw_examples "$picture"

# 13. Chapter 3: 126 short trainings with five contrastive losses. About two hours.
#     writes medclipsam_utils/results/finetune_losses.json
run measure.finetune_losses --work "$work/finetune_losses" --results "$results/finetune_losses.json" $quick

# 14. Chapters 4 and 5: methods and sanity checks of saliency. About an hour.
#     writes medclipsam_utils/results/saliency_checks.json
run measure.saliency_checks --work "$work/saliency_checks" --results "$results/saliency_checks.json" $quick

# 15. Where presence may be reported, and where it must not be. A quarter of an hour.
#     writes medclipsam_utils/results/presence.json
run measure.presence --work "$work/presence" --results "$results/presence.json" $quick

# 16. Chapter 7: the whole pipeline from a sentence to a mask, stage by stage. About an hour.
#     writes medclipsam_utils/results/zero_shot.json
run measure.zero_shot --work "$work/zero_shot" --results "$results/zero_shot.json" $quick

# 17. Chapter 7: what is used by default beside the paper's way, and with free sentences. About an hour.
#     writes medclipsam_utils/results/ways.json
run measure.ways --work "$work/ways" --results "$results/ways.json" $quick

# 18. Chapter 8: segmenters that learn from pseudo-labels, from the maps of a CLIP that saw no mask, and from masks
#     spoilt on purpose. Six hours.
#     writes medclipsam_utils/results/weak_supervision.json
run measure.weak_supervision --work "$work/weak_supervision" --results "$results/weak_supervision.json" $quick

# 19. Chapter 8: a small run of nnU-Net, which needs the extra nnunet. Some minutes; it cannot be made brief.
#     writes medclipsam_utils/results/weak_nnunet.json
if [ -z "$quick" ]; then
    run measure.weak_nnunet --work "$work/weak_nnunet" --results "$results/weak_nnunet.json"
fi

# 20. Chapter 5: families of saliency on equal terms. Half an hour; leave the machine alone at its end, where maps are timed.
#     writes medclipsam_utils/results/families.json
run measure.families --work "$work/families" --results "$results/families.json" $quick

# 21. Chapter 3: fine-tuning from captions alone, judged by words, maps and masks. About an hour.
#     writes medclipsam_utils/results/chain.json
run measure.chain --work "$work/chain" --results "$results/chain.json" $quick

# What is not here: measure.real_images, which needs a folder of real images.
