"""What DESIGN promises of the code as a whole, checked on its source."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zssr
from zssr.damages import KINDS
from zssr.settings import REPAIRS

PACKAGE = Path(zssr.__file__).parent
ROOT = PACKAGE.parent
# From the top down; a module may import from lower layers and from its own room only: the module or package of a name
# here. The demo may import from all of zssr but its command line; zssr from nothing of the demo.
LAYERS = {
    "zssr": [
        {"__main__"},
        {"cli"},
        {"batch", "evaluate"},
        {"restoration"},
        {"held_out", "progress", "result"},
        {"agreement", "budget", "first_estimate", "prior_selection"},
        {"plan"},
        {"resources"},
        {"effort", "jobs"},
        {"priors", "repairs", "train"},
        {"diagnose", "examples"},
        {"damages", "preview", "source"},
        {"apply", "files", "pyramid", "targets", "weights"},
        {"patch_groups"},
        {"cluster", "dct_shrinkage", "device", "image", "network", "settings"},
        {"raster"},
        {"dihedral", "drawn", "errors", "features", "hard_edges", "formats", "metrics", "resample", "version"},
    ],
    "web": [
        {"__main__"},
        {"app"},
        {"api"},
        {"uploads", "visitors"},
        {"services"},
        {"quick"},
        {"jobs", "metrics", "openapi"},
        {"worker"},
        {"config", "protocol", "store"},
    ],
}


def modules(package: str) -> list[Path]:
    """Without the package's own __init__.py, which names everything."""
    folder = ROOT / package
    return sorted(path for path in folder.rglob("*.py") if path != folder / "__init__.py")


def full_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = modules("zssr")
BY_NAME = {full_name(path): path for package in LAYERS for path in modules(package)}


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules of zssr and web that a module imports, be it in a function, for types only, or by a
    name that is given to importlib."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in BY_NAME else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and node.value in BY_NAME:
            is_its_package = path.is_relative_to(BY_NAME[node.value].parent)  # as loggers are named
            if not is_its_package or BY_NAME[node.value].name != "__init__.py":
                yield node.value


def imported_of_ours(path: Path) -> set[str]:
    return {name for name in imported(path) if name.partition(".")[0] in LAYERS}


def room(path: Path) -> str:
    return full_name(path).split(".")[1]


def layer(package: str, name: str) -> int:
    return next(number for number, names in enumerate(LAYERS[package]) if name in names)


@pytest.mark.parametrize("package", LAYERS)
def test_every_room_is_in_one_layer(package: str) -> None:
    named = [name for names in LAYERS[package] for name in names]
    assert sorted(named) == sorted({room(path) for path in modules(package)})


@pytest.mark.parametrize("name", BY_NAME)
def test_imports_point_down(name: str) -> None:
    package, here = name.split(".")[:2]
    for other in imported_of_ours(BY_NAME[name]):
        its_package, _, rest = other.partition(".")
        its_room = rest.partition(".")[0]
        if its_package != package:
            assert (package, its_package) == ("web", "zssr"), f"{name} imports {other}"
            assert its_room not in ("cli", "__main__"), f"{name} imports {other}"
        else:
            assert its_room, f"{name} imports all of {package}"
            assert its_room == here or layer(package, its_room) > layer(package, here), f"{name} imports {other}"


def test_no_imports_go_in_a_circle() -> None:
    """Not within a room either."""
    graph = {name: imported_of_ours(path) - {name} for name, path in BY_NAME.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_imports_of_strings_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        'import importlib\nHOME = "zssr.plan"\ndef f():\n    from zssr import apply\n    import zssr.train\n'
    )
    assert imported_of_ours(path) == {"zssr.plan", "zssr.apply", "zssr.train"}


def test_imports_between_damages_point_one_way() -> None:
    """A damage's folder knows what a damage is, but no other damage; blurs alone have the kernels of downscaling, and
    what was enlarged is looked at without its compression."""
    folder = PACKAGE / "damages"
    kinds = {path.name for path in folder.iterdir() if (path / "__init__.py").exists()}
    parts = {"degradation", "kind", "region", "smaller"}
    allowed = {
        "smaller": set(),
        "region": set(),
        "degradation": {"region", "smaller"},
        "chain": {"degradation"},
        "kind": {"degradation"},
        **dict.fromkeys(kinds, parts),
        "blur": parts | {"downscale"},
        "enlarged": parts | {"jpeg"},
        "rules": parts | kinds,
        "damages": parts | kinds | {"chain"},
    }
    for path in folder.rglob("*.py"):
        first = path.relative_to(folder).parts[0]
        here = "damages" if first == "__init__.py" else first.removesuffix(".py")
        for name in imported_of_ours(path):
            if name.startswith("zssr.damages"):
                other = name.split(".")[2] if name.count(".") > 1 else "damages"
                assert other == here or other in allowed[here], f"{full_name(path)} imports {name}"


@pytest.mark.parametrize("path", [*MODULES, *modules("web")], ids=full_name)
def test_only_damages_ask_which_damage_it_is(path: Path) -> None:
    """So that a new one needs no line elsewhere."""
    classes = "|".join(sorted({kind.operator.__name__ for kind in KINDS}))
    assert re.search(r"\b(Jpeg|Mosaic)\b", classes)
    found = re.findall(rf"isinstance\([^)]*(?:{classes})", path.read_text())
    assert room(path) == "damages" or not found


def test_repairs_of_the_settings_are_the_damages_that_can_be_found() -> None:
    """settings.py loads without torch, so it cannot ask the damages."""
    findable = {kind.name for kind in KINDS if kind.find is not None}
    assert len(REPAIRS) == len(set(REPAIRS))
    assert set(REPAIRS) == findable
    assert {kind.name for kind in KINDS if kind.automatic} <= findable


@pytest.mark.parametrize("path", MODULES, ids=full_name)
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
            boundary = room(path) == "batch" and told.count("type(error).__name__") + told.count("return {}") == 1
            boundary = boundary or (path.name == "apart.py" and "one_line(error)" in told)
            assert boundary or ast.unparse(node.type) not in ("Exception", "BaseException"), node.lineno


def test_public_names() -> None:
    assert set(zssr.__all__) == {
        "Agreement", "Blur", "Chain", "Degradation", "Downscale", "Image", "Jpeg", "Missing", "Mosaic", "Noise", "Plan",
        "Progress", "Region", "Result", "Settings", "__version__", "errors", "load", "make_plan", "restore", "save",
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
    [
        ("zssr.cli", ("torch", "numpy")),
        ("zssr.files.apart", ("torch",)),
        ("zssr.formats", ("torch", "numpy", "PIL")),
        ("web.app", ("torch",)),
    ],
)
def test_starts_without_what_takes_seconds_to_load(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; assert not set({heavy}) & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
