"""Where sources, tests and helpers of tests lie, and that every test claims something."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
PACKAGES = [
    *(ROOT / name for name in ("server", "runtime", "export", "client_demo", "training")),
    ROOT / "benchmarks",
    ROOT / "packages" / "avatar_client" / "avatar_client",
]
MOST_MODULES = 12  # in a folder of sources
# Calls that raise unless the claim holds.
CLAIMS = {"raises", "warns", "validate", "check_schema"}
MIRRORS_NOTHING = {
    "test_layout.py": "this file",
    "test_repository.py": "what is committed",
    "avatar_client/test_install.py": "the package, installed alone",
    "end_to_end": "a real server and a real client",
    "faults": "promises of the whole server, by what goes wrong",
    "parity": "the official code's own numbers, of any module",
    "export/test_image_injection.py": "variants of the transformer, built as engines",
    "runtime/hunyuan/test_whole_release.py": "a download, from the check to the video",
    "server/generation/test_playing.py": "lanes, play-out, scheduler and pacer together",
    "server/generation/test_device_playing.py": "the same, with ticks that overlap",
    "server/generation/test_released_backend.py": "a released folder behind the server",
    "server/generation/test_shared_session.py": "one session on two devices",
}


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def all_tests() -> list[Path]:
    return [path for path in modules(TESTS) if path.name.startswith("test_")]


def imported(module: Path) -> set[str]:
    """Dotted names that a module imports; of `from a import b` both a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def mirrored(test: Path) -> bool:
    """Is there a source of the test's name, perhaps with an aspect of it behind the name?

    tests/a/b/test_c.py and tests/a/b/test_c_on_gpus.py are of a/b/c.py, or of a package a/b/c;
    tests/a/b/test_b.py is of the package a/b as a whole.
    """
    path = test.relative_to(TESTS)
    package = next((p for p in PACKAGES if p.name == path.parts[0]), None)
    if package is None:
        return False
    folder = package.joinpath(*path.parts[1:-1])
    words = path.stem.removeprefix("test_").split("_")
    if words == folder.name.split("_"):
        return (folder / "__init__.py").exists()
    names = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
    return any((folder / f"{name}.py").exists() or (folder / name).is_dir() for name in names)


def claims(function: ast.AST, helpers: frozenset[str] = frozenset()) -> bool:
    """Does it assert, expect an error, or call one of `helpers`?"""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name.startswith("assert") or name in {*CLAIMS, *helpers}:
                return True
    return False


def without_claim(module: Path) -> list[str]:
    tree = ast.parse(module.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    tests = [function for function in functions if function.name.startswith("test_")]
    helpers = frozenset(f.name for f in functions if f not in tests and claims(f))
    return [f"{module.relative_to(ROOT)}: {f.name}" for f in tests if not claims(f, helpers)]


def test_every_test_claims_something() -> None:
    assert [name for module in all_tests() for name in without_claim(module)] == []


def test_every_test_module_mirrors_a_source() -> None:
    lost = []
    for test in all_tests():
        path = test.relative_to(TESTS)
        if not {str(path), path.parts[0]} & MIRRORS_NOTHING.keys() and not mirrored(test):
            lost.append(str(path))
    assert lost == []


@pytest.mark.parametrize("name", MIRRORS_NOTHING)
def test_an_exception_is_still_there(name: str) -> None:
    assert (TESTS / name).exists()


def test_no_test_imports_another_test() -> None:
    found = {
        str(module.relative_to(TESTS)): sorted(others)
        for module in modules(TESTS)
        if (others := {n for n in imported(module) if ".test_" in n or ".conftest" in n})
    }
    assert found == {}


def test_helpers_lie_in_support_and_are_used() -> None:
    """Of more than one test, or written apart to keep a test short."""
    kinds = ("test_", "conftest")
    support = TESTS / "support"
    elsewhere = [
        m for m in modules(TESTS) if not m.name.startswith(kinds) and support not in m.parents
    ]
    assert elsewhere == []
    used = {name for module in modules(TESTS) for name in imported(module)}
    names = {".".join(m.relative_to(TESTS.parent).with_suffix("").parts) for m in modules(support)}
    unused = sorted(names - used)
    assert unused == []


def test_a_folder_holds_few_modules() -> None:
    folders = (*PACKAGES, TESTS / "support")
    sources = [m for folder in folders for m in modules(folder) if m.stem.strip("_") == m.stem]
    counts = Counter(str(module.parent.relative_to(ROOT)) for module in sources)
    full = {folder: n for folder, n in counts.items() if n > MOST_MODULES}
    assert full == {}
