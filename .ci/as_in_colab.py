"""Open the published notebooks as Colab does, and run them: ``python .ci/as_in_colab.py --python PYTHON [NAME ...]``.

For each notebook: a fresh folder that holds nothing but its published form, a kernel of PYTHON (an environment with
Colab's packages, without the book's) that has loaded ``google.colab``, the install cell, then all others. What is
installed goes into a layer of its own above PYTHON's packages and is thrown away afterwards. The run fails if a cell
fails, if the install cell replaces a package that was there, or if it asks for a restart. Instead of GitHub's archive
of the commit, pip gets one of the files that git tracks here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book"))
from publish_notebooks import publish  # noqa: E402

SECONDS_A_CELL = 600
# Colab's kernel loads google.colab as an extension, and these packages with it, before the first cell runs.
COLAB = """\
import ipywidgets, numpy


def load_ipython_extension(shell):
    pass
"""
NAMES = """\
import json
from importlib.metadata import distributions
print(json.dumps([[each.name, each.version, str(each.locate_file(""))] for each in distributions()]))
"""


def archive(folder: Path) -> Path:
    """The tracked files, as GitHub packs them: a zip of one folder. Changes that are not committed go along."""
    stash = subprocess.run(["git", "stash", "create"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    path = folder / "package.zip"
    command = ["git", "archive", "--prefix=book/", "-o", str(path), stash.strip() or "HEAD"]
    subprocess.run(command, cwd=ROOT, check=True)
    return path


def layer(python: str, folder: Path) -> Path:
    """An environment above another one: its packages can be imported, and pip installs into the new one."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    ask = "import site, sysconfig; print(sysconfig.get_path('purelib'), *site.getsitepackages(), sep='\\n')"
    below = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.splitlines()
    own = next(iter((folder / "lib").glob("python*/site-packages")))
    lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(below)]
    (own / "below.pth").write_text("\n".join(lines), encoding="utf-8")
    if subprocess.run([python, "-c", "import google.colab"], capture_output=True, check=False).returncode:
        colab = own / "google" / "colab"
        colab.mkdir(parents=True)
        (colab / "__init__.py").write_text(COLAB, encoding="utf-8")
    return folder / "bin" / "python"


def replaced(python: Path) -> list[str]:
    """What stands in the upper layer and in the one below, with both versions."""
    found = json.loads(subprocess.run([python, "-c", NAMES], capture_output=True, text=True, check=True).stdout)
    upper = {name: version for name, version, place in found if Path(place).is_relative_to(python.parents[1])}
    return [f"{name} {old} → {upper[name]}" for name, old, place in found if name in upper and upper[name] != old]


def run(path: Path, python: Path, folder: Path) -> tuple[float, float]:
    """Run a published notebook in its folder; returns the seconds of the install cell and of all others.

    Raises:
        CellExecutionError, CellTimeoutError, DeadKernelError: a cell failed, took too long, or ended its kernel.
    """
    kernel = folder / "jupyter" / "kernels" / "as-in-colab" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    options = ["--InteractiveShellApp.extra_extensions=google.colab", "--IPKernelApp.log_level=40"]
    start = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}", *options]
    kernel.write_text(json.dumps({"argv": start, "display_name": "Colab", "language": "python"}), encoding="utf-8")
    os.environ["JUPYTER_PATH"] = str(folder / "jupyter")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=SECONDS_A_CELL, resources={"metadata": {"path": str(path.parent)}}, kernel_name="as-in-colab"
    )
    times = []
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            began = time.monotonic()
            client.execute_cell(cell, index)
            times.append(time.monotonic() - began)
    install = next(index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    printed = "".join(output.get("text", "") for output in notebook.cells[install].outputs)
    if "Nothing that Colab brought along was changed" not in printed:
        raise CellExecutionError(traceback=printed, ename="the install cell", evalue="does not say that all is well")
    return times[install], sum(times) - times[install]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="chapters, such as 00_tour (default: all)")
    parser.add_argument("--python", default=sys.executable, help="interpreter with Colab's packages")
    arguments = parser.parse_args()
    python = str(Path(arguments.python).absolute())  # never resolved: a link into an environment is the environment
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        written = publish(folder / "branch", "OWNER/REPOSITORY", "0" * 40, archive(folder).as_uri())
        unknown = set(arguments.names) - {path.stem for path in written}
        if unknown:
            parser.error(f"there is no chapter {', '.join(sorted(unknown))}")
        chosen = [path for path in written if not arguments.names or path.stem in arguments.names]
        for number, path in enumerate(chosen, start=1):
            print(f"{number} of {len(chosen)}: {path.stem} ...", end=" ", flush=True)
            fresh = folder / path.stem
            content = fresh / "content"
            content.mkdir(parents=True)
            upper = layer(python, fresh / "environment")
            try:
                install, rest = run(path.rename(content / path.name), upper, fresh)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                print(f"failed\n\n{error}", file=sys.stderr)
                return 1
            changed = replaced(upper)
            if changed:
                print(f"failed: the install cell replaced {', '.join(changed)}", file=sys.stderr)
                return 1
            print(f"installed in {install:.0f} s, ran in {rest:.0f} s", flush=True)
    print(f"Passed as in Colab: {len(chosen)} notebooks; nothing that was installed before was changed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
