"""One kind of error for everything that can be wrong with an image file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL.Image import DecompressionBombError

MAX_PIXELS = 2**27
"""The largest image that is read: 134 million pixels. More is a damaged header, an attack, or a slide to be cropped."""

_LOGGERS = (
    *("nibabel.global", "tifffile", "PIL.TiffImagePlugin"),
    *("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils"),
)
"""Each by its full name, because a filter of a logger does not see what its children log."""


class ImageError(ValueError):
    """An image cannot be read or a mask cannot be written; the message names the file, the reason and a remedy."""


def image_error(path: Path, reason: str, remedy: str) -> ImageError:
    """Make the error ``<path>: <reason>. <remedy>.``"""
    return ImageError(f"{path}: {reason}. {remedy}.")


def check_size(path: Path, height: int, width: int) -> None:
    """Refuse images without pixels and images too large for memory, before anything is decoded."""
    if height < 1 or width < 1:
        raise image_error(path, f"the image is {height} × {width} pixels", "Export it again, with pixels")
    if height * width > MAX_PIXELS:
        reason = f"the image is {height} × {width} pixels, more than {MAX_PIXELS:,}"
        raise image_error(path, reason, "Crop it or scale it down first")


def choose_frame(path: Path, frame: int | None, n_frames: int, default: int, name: str = "frame") -> int:
    """Return ``frame``, or ``default`` if it is None.

    Raises:
        ImageError: there are no frames, or not this one.
    """
    if n_frames < 1:
        raise image_error(path, f"it says it has {n_frames} {name}s", "It is damaged or cut short: export it again")
    if frame is None:
        return default
    if not 0 <= frame < n_frames:
        raise image_error(path, f"{name} {frame} does not exist", f"Choose 0 to {n_frames - 1}")
    return frame


@contextmanager
def decoding(path: Path, reason: str, remedy: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one :class:`ImageError`, and keep its warnings and log lines to itself.

    Decoders fed with damaged files raise almost anything, so everything is caught. Their messages are not repeated,
    because they may quote the header of a clinical file; the kind of error is.
    """
    silent = _Silent()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except FileNotFoundError:
        raise image_error(path, "there is no such file", "Check the spelling and the folder") from None
    except MemoryError:
        raise image_error(path, "it does not fit into memory", "Crop it or scale it down first") from None
    except DecompressionBombError:
        reason = f"the image has more than {MAX_PIXELS:,} pixels"
        raise image_error(path, reason, "Crop it or scale it down first") from None
    except Exception as error:
        raise image_error(path, f"{reason} ({type(error).__name__})", remedy) from None
    finally:
        for logger in loggers:
            logger.removeFilter(silent)


class _Silent(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return False
