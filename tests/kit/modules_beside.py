"""Test modules that another one takes something of: those of this repository are in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def module_beside(file: str, name: str) -> ModuleType:
    """The test module `name` in the folder of `file`, loaded once more."""
    folder = Path(file).parent
    package = f"beside_{folder.parent.name}_{folder.name}"
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(folder)]
    spec = importlib.util.spec_from_file_location(f"{package}.{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
