"""What is asked in each assignment: calls, points, and mistakes with their messages."""

from ..steps import Assignment
from . import ensembles, evaluation, loss, noisy_labels, prompting, saliency

_ALL = (
    Assignment(
        name="loss_and_saliency",
        title="The loss and the saliency",
        steps=loss.STEPS + saliency.STEPS,
        choices={"low_percent": (20, 25, 30, 40, 50), "radius": (2, 3, 4, 5)},
    ),
    Assignment(
        name="prompting_and_evaluation",
        title="Prompting and evaluation",
        steps=prompting.STEPS + evaluation.STEPS,
        choices={
            "share": (0.7, 0.8, 0.85, 0.9),
            "percent": (85, 90, 95, 97),
            "confidence": (80, 90, 95),
            "rate": (0.04, 0.05, 0.08, 0.1),
        },
    ),
    Assignment(
        name="weak_supervision",
        title="Weak supervision",
        steps=noisy_labels.STEPS + ensembles.STEPS,
        choices={"prior": (0.05, 0.1, 0.15, 0.2), "shrink": (0.7, 0.75, 0.8, 0.85, 0.9)},
    ),
)

ASSIGNMENTS: dict[str, Assignment] = {assignment.name: assignment for assignment in _ALL}
