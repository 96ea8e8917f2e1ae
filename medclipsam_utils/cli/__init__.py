"""The command line: ``medclipsam COMMAND …``, or ``python -m medclipsam_utils.cli COMMAND …`` under ``torchrun -m``."""

from __future__ import annotations

import argparse
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

#: What each command does; the module of that name has its arguments and runs it.
COMMANDS = {
    "segment": "the mask of what a sentence names, in one image",
    "folder": "the same for every image in a folder",
    "calibrate": "learn from images without a target, so that its presence can be tested",
    "evaluate": "how well a folder of masks agrees with a folder of references",
    "demo": "try it on simulated images",
    "models": "which models there are, and which are on this machine",
    "finetune": "train a CLIP on image–caption pairs",
}
EXAMPLES = """\
examples:
  medclipsam demo
  medclipsam segment scan.dcm "brain tumour" -o mask.png --overlay overlay.png
  medclipsam segment head.nii.gz "brain tumour"
  medclipsam folder scans masks "brain tumour"
  medclipsam evaluate masks/masks references

exit status:
  0 done, 1 an input is wrong (a message says which), 2 the command line is wrong, 3 some files of a folder failed or
  were left out, 130 interrupted

Research and teaching only: this is no medical device.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, see :data:`EXAMPLES`."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):  # a sign that the console does not know is no reason to stop
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        prog="medclipsam",
        description="MedCLIP-SAMv2: segment a medical image from a sentence.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if arguments[:1] == [name]:  # the others' modules need seconds to import
            module = import_module(f".{name}", __name__)
            command.description, command.epilog = module.DESCRIPTION, getattr(module, "EPILOG", None)
            command.formatter_class = argparse.RawDescriptionHelpFormatter
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    try:
        logging.getLogger("medclipsam_utils").addHandler(logging.NullHandler())  # what it logs is printed or in tables
        with _plain_warnings():
            return options.run(options)
    except (ValueError, OSError) as error:  # the errors of models and images are ValueErrors that say what to do
        print(f"medclipsam: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmedclipsam: interrupted; the same command goes on from where it was", file=sys.stderr)
        return 130


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show a warning as a line on stderr, once, without the place in the program that it comes from."""

    shown: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in shown:
            print(f"medclipsam: {message}", file=sys.stderr)
        shown.add(str(message))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
