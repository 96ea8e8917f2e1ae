"""Settings of the saliency methods: how a map is made, whatever it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ..saliency import Method, integrated_gradients, m2ib, moved_views, patch_text

CAM_METHODS = ("gscore_cam", "grad_cam")


class SaliencySettings(Protocol):
    """Settings from which a saliency method follows."""

    @property
    def method(self) -> Method:
        """The method with these settings: from a CLIP, B images and a text to B maps."""
        ...


@dataclass(frozen=True)
class M2IB:
    """How a map is made with the multi-modal information bottleneck.

    Attributes:
        layer, beta, variance, samples, standardize: see :func:`~medclipsam_utils.saliency.m2ib`.
        views: average over four views moved by half a patch, see :func:`~medclipsam_utils.saliency.moved_views`.
    """

    layer: int
    beta: float
    variance: float = 1.0
    samples: int = 10
    standardize: bool = False
    views: bool = False

    @property
    def method(self) -> Method:
        """The method with these settings."""
        plain = partial(
            m2ib, layer=self.layer, beta=self.beta, variance=self.variance, samples=self.samples,
            standardize=self.standardize,
        )  # fmt: skip
        return moved_views(plain) if self.views else plain


@dataclass(frozen=True)
class PatchText:
    """How a map is made of patch–text cosines.

    Attributes:
        neighbourhood, windows: see :func:`~medclipsam_utils.saliency.patch_text`.
        views: as in :class:`M2IB`.
    """

    neighbourhood: float | None = None
    views: bool = False
    windows: int | None = None

    @property
    def method(self) -> Method:
        """The method with these settings."""
        plain = partial(patch_text, neighbourhood=self.neighbourhood, windows=self.windows)
        return moved_views(plain) if self.views else plain


@dataclass(frozen=True)
class IntegratedGradients:
    """How a map is made with the integrated gradients of a layer (NIB).

    Attributes:
        layer, steps: see :func:`~medclipsam_utils.saliency.integrated_gradients`.
        views: as in :class:`M2IB`.
    """

    layer: int
    steps: int = 10
    views: bool = False

    @property
    def method(self) -> Method:
        """The method with these settings."""
        plain = partial(integrated_gradients, layer=self.layer, steps=self.steps)
        return moved_views(plain) if self.views else plain


@dataclass(frozen=True)
class ClassActivation:
    """How a map is made with a class activation map.

    Attributes:
        name: ``"gscore_cam"``, as in the first version of the method, or ``"grad_cam"``.
        channels: number of channels that gScoreCAM looks at, see :func:`~medclipsam_utils.saliency.gscore_cam`.
        layer: see :func:`~medclipsam_utils.saliency.grad_cam`.
        views: as in :class:`M2IB`.

    Raises:
        ValueError: there is no method of this name.
    """

    name: str = "gscore_cam"
    channels: int = 300
    layer: int | None = None
    views: bool = False

    def __post_init__(self):
        if self.name not in CAM_METHODS:
            raise ValueError(f"name is {self.name!r}: choose from {', '.join(CAM_METHODS)}")

    @property
    def method(self) -> Method:
        """The method with these settings."""
        from ..saliency import grad_cam, gscore_cam  # importing the grad-cam library takes seconds

        plain = partial(grad_cam, layer=self.layer)
        if self.name == "gscore_cam":
            plain = partial(gscore_cam, layer=self.layer, channels=self.channels)
        return moved_views(plain) if self.views else plain
