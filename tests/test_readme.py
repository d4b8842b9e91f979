"""What the READMEs tell people to type works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(readme: str) -> list[str]:
    """The Python blocks of a README that are programs, not mere imports."""
    found = re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in found if "Guard(" in block]


@pytest.mark.parametrize(
    "readme", ["README.md", "README.ko.md", "integrations/langchain/README.md", "integrations/llamaindex/README.md"]
)
def test_the_programs_of_a_readme_run(readme, tmp_path):
    """Every program of a README runs as it stands, in an empty folder, with no key and no complaint."""
    programs = blocks(readme)
    assert programs
    for program in programs:
        result = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("command", ["uv run llmguard demo", "uv run pytest"])
def test_the_two_commands_are_what_ci_runs(command):
    """Both commands of the README are in .ci/run."""
    assert f"pip install uv && {command}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert command in (ROOT / ".ci/run").read_text(encoding="utf-8").replace("--quiet ", "")


def test_the_korean_readme_tells_all_that_the_english_one_tells():
    """Both have the same sections, programs and rows of tables, so neither is forgotten when the other changes."""

    def outline(readme: str) -> list[str]:
        text = (ROOT / readme).read_text(encoding="utf-8")
        return re.findall(r"^(#+ |```\w*|\| |<!-- .* -->)", text, re.MULTILINE)

    assert outline("README.ko.md") == outline("README.md")
