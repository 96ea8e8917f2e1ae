"""One object for all questions: a CLIP that reads the words and a SAM that draws the outline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from segment_anything import SamPredictor

from ..images import Image
from ..models import Clip
from ..settings import Settings
from ..tasks import Task
from .method import segment
from .question import Questions, Text
from .segmentation import Segmentation


class Segmenter:
    """A CLIP that reads the words and a SAM that draws the outline.

    Args:
        clip: of :func:`~medclipsam_utils.models.load_clip`; make a new Segmenter after training it, because prompts are
            encoded once.
        sam: of :func:`~medclipsam_utils.models.load_sam`.
        settings: for every target, or for some of them by the names of their tasks, your own among them; under
            :data:`~medclipsam_utils.settings.ANY`, for all targets that are none of ``TASKS``. All others, and all if
            None, take those of :data:`~medclipsam_utils.settings.SETTINGS`.
        tasks: tasks of your own that a text may name.
    """

    def __init__(
        self,
        clip: Clip,
        sam: SamPredictor,
        settings: Settings | Mapping[str, Settings] | None = None,
        tasks: Iterable[Task] = (),
    ):
        self.clip, self.sam = clip, sam
        self.questions = Questions(clip, settings, tasks)

    def segment(self, image: Image, text: Text | None = None, *, task: str | Task | None = None) -> Segmentation:
        """Draw the mask of what the text names.

        Args:
            image: uint8 [H, W, 3], :class:`~medclipsam_utils.images.MedicalImage`, or tensor [3, H, W].
            text: one sentence, or several whose mean is asked; None asks the task's own prompts. By default the small
                CLIP is asked together with these, see ``Settings.text_weight``.
            task: whose target is looked for: one of ``TASKS`` by name, or a :class:`~medclipsam_utils.tasks.Task` of
                your own. None takes the task whose target the text names; a text that names no known target is answered
                with settings that are no other target's.

        Returns:
            A :class:`Segmentation`. Its mask is empty where the map is constant. It is *not* empty where the target is
            reported absent, unless the settings say so: the map always has a peak, and you decide what to believe.

        Warns:
            UnknownTargetWarning: the CLIP is a small one, and the words name none of the targets that it knows.

        Raises:
            ModelError: image or text do not fit the model, or it knows no word of the text.
            ValueError: neither text nor task is given, the task or one of its settings is unknown, or ``alpha`` is too
                small for the calibration.
        """
        return next(self.segment_each([image], text, task=task))

    def segment_batch(
        self, images: Sequence[Image], text: Text | None = None, *, task: str | Task | None = None
    ) -> list[Segmentation]:
        """Do the same for several images of any sizes, which the CLIP sees together. No images give an empty list."""
        return list(self.segment_each(images, text, task=task))

    def segment_each(
        self, images: Sequence[Image], text: Text | None = None, *, task: str | Task | None = None
    ) -> Iterator[Segmentation]:
        """Answer as :meth:`segment_batch`, one after the other."""
        return segment(self.clip, self.sam, images, self.questions.ask(images, text, task))

    def segment_targets(self, image: Image, texts: Sequence[Text]) -> list[Segmentation]:
        """Look for several targets in one image, which CLIP and SAM embed once. No texts give an empty list.

        The masks may overlap: each text is answered for itself.
        """
        if isinstance(texts, str):
            raise ValueError(f"texts is {texts!r}: give a list with one text for each target")
        seen = self.clip.encode_image([image])
        questions = [self.questions.ask([image], text, seen=seen)[0] for text in texts]
        return list(segment(self.clip, self.sam, [image] * len(questions), questions))
