from .cam import grad_cam, gscore_cam
from .contributions import integrated_gradients, patch_contributions
from .faithfulness import Faithfulness, deletion_insertion
from .information_bottleneck import Bottleneck, information, m2ib, patch_information
from .inputs import Method, Text
from .maps import best_dice, coverage, points_at
from .model_randomisation import map_correlation, randomisation
from .patches import divide, patch_cosines, patch_features, patch_text
from .presence import PresenceTest, calibrate_presence, mean_features
from .prompt_specificity import Specificity, specificity
from .rollout import attention_rollout
from .views import moved_views
from .words import WordSaliency, m2ib_text

__all__ = [
    "Bottleneck",
    "Faithfulness",
    "Method",
    "PresenceTest",
    "Specificity",
    "Text",
    "WordSaliency",
    "attention_rollout",
    "best_dice",
    "calibrate_presence",
    "coverage",
    "deletion_insertion",
    "divide",
    "grad_cam",
    "gscore_cam",
    "information",
    "integrated_gradients",
    "m2ib",
    "m2ib_text",
    "map_correlation",
    "mean_features",
    "moved_views",
    "patch_contributions",
    "patch_cosines",
    "patch_features",
    "patch_information",
    "patch_text",
    "points_at",
    "randomisation",
    "specificity",
]
