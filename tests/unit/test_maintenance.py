"""What keeps the project going: the two commands, the lanes, the versions, the Python that is looked for."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def requirements(name: str) -> dict[str, Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return {each.name.lower(): each for each in map(Requirement, filter(None, lines))}


def test_continuous_integration_runs_the_two_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.findall(r"^make .*$", script, flags=re.M) == ["make book", "make test"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"## Two commands.*?```shell\nmake book +#.*\nmake test +#", readme, flags=re.S)


def test_colabs_versions_are_accepted():
    allowed, colab = requirements("requirements.txt"), requirements(".ci/colab.txt")
    assert {"torch", "numpy", "transformers", "ipywidgets", "pillow"} <= colab.keys() <= allowed.keys()
    for name, pinned in colab.items():
        (version,) = (each.version for each in pinned.specifier)
        assert allowed[name].specifier.contains(version), name


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-nnunet.txt"])
def test_what_users_install_has_lower_bounds_only(name):
    for requirement in requirements(name).values():
        assert [each.operator for each in requirement.specifier] == [">="], requirement
    assert re.search(r'^requires-python = ">=3\.\d+"$', PROJECT, flags=re.M)


def test_the_pinned_versions_are_allowed():
    allowed = requirements("requirements.txt") | requirements("requirements-nnunet.txt")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    for name, requirement in allowed.items():
        found = [pin for pin in pins if pin.name.replace("-", "_") == name.replace("-", "_")]
        assert found, name
        for pin in found:
            assert requirement.specifier.contains(next(iter(pin.specifier)).version), pin


def test_each_lane_is_a_command_and_runs_every_week():
    cases = set(re.findall(r"^([a-z-]+)\)$", (ROOT / ".ci" / "lane").read_text(encoding="utf-8"), flags=re.M))
    targets = re.search(r"^LANES := (.*)$", MAKEFILE, flags=re.M)[1].split()
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "lanes.yml").read_text(encoding="utf-8"))
    weekly = {each["lane"] for each in workflow["jobs"]["lane"]["strategy"]["matrix"]["include"]}
    assert cases == weekly == {target.removesuffix("-test") for target in targets}
    assert {"colab", "lowest"} <= cases
    gate = re.search(r"^test: (.*?)##", MAKEFILE, flags=re.M)[1].split()
    assert not set(gate) & set(targets)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_help_names_every_command():
    environment = os.environ | {"MAKEFLAGS": ""}
    shown = subprocess.run(["make", "help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make (\S+) +\S", shown.stdout, flags=re.M))
    commands = {name for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.M) for name in line.split()}
    lanes = set(re.search(r"^LANES := (.*)$", MAKEFILE, flags=re.M)[1].split())
    assert listed == (commands | lanes) - {"browser", "$(LANES)"}  # `make site` calls the one


@pytest.fixture
def find_python(tmp_path):
    """Runs .ci/find-python where only the named Pythons are, each of which says by its exit status if it will do."""

    def run(pythons: dict[str, int], *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        for name, status in pythons.items():
            path = tmp_path / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\nexit {status}\n")
            path.chmod(0o755)
        (tmp_path / "bin" / "ls").write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / "bin" / "ls").chmod(0o755)
        environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)} | variables
        command = ["/bin/sh", str(ROOT / ".ci" / "find-python"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.skipif(not Path("/bin/sh").exists(), reason="the script is one of a Unix shell")
class TestFindPython:
    def test_a_tested_version_comes_before_a_newer_one(self, find_python):
        assert find_python({"python3": 0, "python3.12": 0}).stdout == "python3.12\n"

    def test_a_newer_version_is_not_refused(self, find_python):
        assert find_python({"python3": 0}).stdout == "python3\n"

    def test_a_lane_gets_the_version_that_it_asks_for(self, find_python):
        assert find_python({"python3.11": 0, "python3.13": 0}, "3.13").stdout == "python3.13\n"

    def test_without_one_the_reason_and_a_remedy_are_said(self, find_python):
        result = find_python({"python3": 1})
        assert result.returncode == 1 and "3.10 or newer" in result.stderr and "apt install" in result.stderr
        assert "No Python 3.13" in find_python({"python3": 1}, "3.13").stderr

    def test_one_that_was_named_and_will_not_do_is_not_replaced_in_silence(self, find_python):
        result = find_python({"python3": 0, "old": 1}, PYTHON="old")
        assert result.returncode == 1 and result.stdout == "" and "PYTHON=old is no Python" in result.stderr
        assert find_python({"mine": 0}, PYTHON="mine").stdout == "mine\n"


def test_an_embedded_picture_is_not_compared_even_where_it_looks_like_an_address():
    rules = configparser.ConfigParser()
    rules.read(ROOT / "tests" / "nbval_sanitize.cfg", encoding="utf-8")
    output = '<img src="data:image/webp;base64,UklG0x1F/00xAB=="> at 0x7f39'
    for section in rules.sections():
        output = re.sub(rules[section]["regex"], rules[section]["replace"], output)
    assert output == '<img src="EMBEDDED_PICTURE"> at MEMORY_ADDRESS'
