"""What DESIGN promises of the code as a whole, checked on its source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import zssr

PACKAGE = Path(zssr.__file__).parent
# From the top down; a module may import from lower layers and from its own folder only.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"report"},
    {"evaluate"},
    {"batch"},
    {"restoration"},
    {"plan"},
    {"damage"},
    {"diagnose"},
    {"jobs", "cluster"},
    {"targets"},
    {"source"},
    {"settings"},
    {"judge"},
    {"train", "preview"},
    {"apply", "pyramid", "priors"},
    {"degrade", "network", "metrics", "device"},
    {"sliding"},
    {"files"},
    {"image"},
    {"dihedral", "resample"},
    {"errors", "formats", "version"},
]
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def layer(name: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if name in names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    for node in ast.walk(ast.parse(path.read_text())):
        imported = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zssr"):
            assert node.level == 0
            imported = (
                [node.module.split(".")[1]]
                if node.module and "." in node.module
                else [alias.name for alias in node.names]
            )
        elif isinstance(node, ast.Import):
            imported = [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("zssr.")]
        for name in imported:
            assert name == here or layer(name) > layer(here), f"{here} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_talks_or_reads_the_environment(path: Path) -> None:
    if room(path) in ("cli", "__main__"):
        return
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "input"), node.lineno
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            assert text not in ("os.environ", "sys.stdout", "sys.stderr", "sys.argv"), node.lineno
            own = path.name == "cluster.py" and text == "torch.set_num_threads"  # in processes of its own
            seeds = re.fullmatch(r"(torch|random|np\.random)\.(manual_seed|seed|set_num_threads)", text)
            assert own or not seeds, node.lineno
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, "bare except"
            told = ast.unparse(node)  # by name, or by asking for each result again
            boundary = path.name == "batch.py" and told.count("type(error).__name__") + told.count("return {}") == 1
            assert boundary or ast.unparse(node.type) not in ("Exception", "BaseException"), node.lineno


def test_public_names() -> None:
    assert set(zssr.__all__) == {
        "Agreement", "Chain", "Degradation", "Downscale", "Image", "Noise", "Progress", "Result", "Settings",
        "__version__", "errors", "load", "restore", "save",
    }  # fmt: skip
    for name in zssr.__all__:
        assert getattr(zssr, name) is not None
    assert callable(zssr.restore)
    with pytest.raises(AttributeError):
        _ = zssr.nothing  # type: ignore[attr-defined]


def test_every_public_function_is_explained() -> None:
    for path in MODULES:
        if room(path) == "__main__":
            continue
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("zssr.cli", ("torch", "numpy")), ("zssr.formats", ("torch", "numpy", "PIL")), ("web.app", ("torch",))],
)
def test_starts_without_what_takes_seconds_to_load(module: str, heavy: tuple[str, ...]) -> None:
    import subprocess
    import sys

    code = f"import sys, {module}; assert not set({heavy}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
