"""The anatomy that every simulated head is made from: tissue maps of the MNI152 template, sampled along any slice.

The template (ICBM 2009a nonlinear symmetric, 1 mm, shipped inside nilearn's wheel) is the average of 152 adults as
three volumes: T1 intensity without skull, probability of grey and of white matter. Coordinates are those of the atlas
in mm: x to the patient's right, y to the front, z to the top, the origin at the anterior commissure.

From the volumes this module derives, once a process, what the average does not say itself: cerebrospinal fluid (what is
brain, but neither grey nor white), the ventricles among it, and the *hull*, the smooth surface over the gyri on which
dura and skull lie. Below the template's end (z = -72) its last slice is continued, which gives a spinal cord.

An average brain is blurred and symmetric where people differ. Individuals come from warping the coordinates before they
are looked up here, also out of the plane, so that no two sides and no two people have equal folds, and from sharpening
the probabilities afterwards (:mod:`.matter`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

#: The channels of the sampled anatomy, in order.
CHANNELS = ("grey matter", "white matter", "fluid", "near ventricles")

_ORIGIN = np.array([98, 134, 72])  # voxel of the atlas's origin
_COARSE = 2  # mm, grid of the hull's distances


@dataclass(frozen=True, eq=False)
class Template:
    """The volumes that are sampled.

    Attributes:
        packed: uint32 [197, 233, 189]; the four bytes of each number are CHANNELS as 0 to 255, so that one look-up
            finds all of them.
        hull_mm: float32 [99, 117, 95] at 2 mm: signed distance from the hull, negative inside.
    """

    packed: np.ndarray
    hull_mm: np.ndarray


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Read and prepare the template: about a second, no download, nothing written.

    Raises:
        FileNotFoundError: nilearn is installed without its data files.
    """
    intensity, grey, white = (_read(name) for name in ("t1", "gm", "wm"))
    brain = intensity > 0
    fluid = (255 - grey - white) * brain  # uint8: grey and white never add up to more than 255
    step = (slice(None, None, _COARSE),) * 3
    depth = ndimage.distance_transform_edt(brain[step]) * _COARSE
    ventricles = _ventricles(fluid[step], depth)
    near = _upsample(ndimage.gaussian_filter(ventricles, 1.5), brain.shape)
    # The average has shallow grooves where a person has sulci: what is more fluid than its surroundings is raised.
    around = _upsample(ndimage.gaussian_filter(fluid[step].astype(np.float32), 1.2), brain.shape)
    packed = np.empty((*brain.shape, len(CHANNELS)), np.uint8)
    packed[..., 0], packed[..., 1] = grey, white
    packed[..., 2] = np.clip(fluid + 1.6 * (fluid - around), 0, 255)
    packed[..., 3] = 255 * near
    return Template(packed.view(np.uint32)[..., 0], _hull(brain[step]))


def _read(name: str) -> np.ndarray:
    # nilearn's own loader resamples, and importing it takes seconds; its files are plain NIfTI.
    package = find_spec("nilearn")
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError("nilearn, which holds the MNI152 template, is missing: pip install nilearn")
    folder = Path(package.submodule_search_locations[0]) / "datasets" / "data"
    path = folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    if not path.exists():
        raise FileNotFoundError(
            f"nilearn's MNI152 template is missing: {path}; reinstall nilearn (pip install nilearn)"
        )
    return np.ascontiguousarray(np.asanyarray(nibabel.Nifti1Image.from_filename(path).dataobj))


def _ventricles(fluid: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Find the lateral, third and fourth ventricle at 2 mm, float32, 1 inside: deep fluid in their boxes."""
    x, y, z = (_COARSE * i - o for i, o in zip(np.indices(fluid.shape, np.int16), _ORIGIN, strict=True))
    parts, _ = ndimage.label((fluid > 110) & (depth > 8))
    lateral = np.isin(parts, [k for k in np.unique(parts[(abs(x) < 16) & (y == 0) & (z > 8) & (z < 24)]) if k])
    horns = (abs(x) > 24) & (abs(x) < 42) & (y > -40) & (y < 0) & (z > -28) & (z < -6) & (abs(x) - y < 60)
    third = (abs(x) < 6) & (y > -26) & (y < 10) & (z > -14) & (z < 8)
    fourth = (abs(x) < 14) & (y > -52) & (y < -34) & (z > -48) & (z < -20)
    return (lateral | ((horns | third | fourth) & (fluid > 80) & (depth > 6))).astype(np.float32)


def _hull(brain: np.ndarray) -> np.ndarray:
    """Measure the signed distance in mm from the smoothed surface of the brain.

    Above the skull base the surface is closed over sulci and fissures; at the base it follows every lobe closely, for
    there bone reaches in between them.
    """
    inner = (slice(12, -12),) * 3
    away = ndimage.distance_transform_edt(np.pad(~brain, 12, constant_values=True))
    signed = []
    for closing in (14 / _COARSE, 5 / _COARSE):
        closed = (ndimage.distance_transform_edt(away <= closing)[inner] > closing) | brain
        signed.append(ndimage.distance_transform_edt(~closed) - ndimage.distance_transform_edt(closed))
    height = _COARSE * np.arange(brain.shape[2]) - _ORIGIN[2]
    above = np.clip((height + 27) / 14, 0, 1)
    return ndimage.gaussian_filter(np.float32(_COARSE * (above * signed[0] + (1 - above) * signed[1])), 1.2)


def _upsample(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Take twice as many samples along every axis, linear in between; no more than ``shape``."""
    for axis in range(coarse.ndim):
        coarse = np.moveaxis(coarse, axis, 0)
        fine = np.empty((2 * len(coarse) - 1, *coarse.shape[1:]), coarse.dtype)
        fine[::2] = coarse
        fine[1::2] = (coarse[1:] + coarse[:-1]) / 2
        coarse = np.moveaxis(fine[: shape[axis]], 0, axis)
    return coarse


def sample_tissue(points: np.ndarray) -> np.ndarray:
    """Interpolate the tissue maps trilinearly.

    Args:
        points: float64 [3, n], atlas coordinates in mm; outside the template the nearest voxel counts.

    Returns:
        float32 [len(CHANNELS), n] in [0, 1].
    """
    packed = load_template().packed
    n = points.shape[1]
    total = np.zeros((n, len(CHANNELS)), np.float32)
    share = np.empty_like(total)
    for index, weight in _corners(points + _ORIGIN[:, None], packed.shape):
        total += np.multiply(packed.reshape(-1)[index].view(np.uint8).reshape(n, -1), weight[:, None], out=share)
    return total.T / 255


def sample_hull(points: np.ndarray) -> np.ndarray:
    """Measure the signed distance of every pixel from the hull in mm, negative inside.

    Args:
        points: float64 [3, rows, cols], even numbers of both. As distances are smooth, every second row and column is
            looked up and the others are interpolated.

    Returns:
        float64 [rows, cols].
    """
    hull, known = load_template().hull_mm, points[:, ::2, ::2]
    total = np.zeros(known[0].size)
    for index, weight in _corners((known.reshape(3, -1) + _ORIGIN[:, None]) / _COARSE, hull.shape):
        total += hull.reshape(-1)[index] * weight
    return np.pad(_upsample(total.reshape(known[0].shape), points[0].shape), (0, 1), mode="edge")


def _corners(position: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return the flat index and the weight of the eight voxels around every position, corner by corner."""
    size = np.array(shape)[:, None]
    position = np.clip(position, 0, size - 1.001)
    low = position.astype(np.intp)
    part = (position - low).astype(np.float32)
    flat = (low[0] * shape[1] + low[1]) * shape[2] + low[2]
    for i in (0, 1):
        wx = part[0] if i else 1 - part[0]
        for j in (0, 1):
            wxy = wx * (part[1] if j else 1 - part[1])
            for k in (0, 1):
                yield flat + ((i * shape[1] + j) * shape[2] + k), wxy * (part[2] if k else 1 - part[2])
