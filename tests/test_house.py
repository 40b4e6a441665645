"""The habits of the house, as far as a machine can see them; who imports whom is in pyproject.toml."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = sorted((REPOSITORY / "retrieval").rglob("*.py")) + sorted(REPOSITORY.glob("*.py"))
TEXTS = [
    *SOURCES,
    *sorted((REPOSITORY / "tests").rglob("*.py")),
    *sorted((REPOSITORY / "benchmarks").rglob("*.py")),
    *sorted((REPOSITORY / "retrieval").rglob("*.js")),
    *sorted((REPOSITORY / "retrieval").rglob("*.css")),
    *sorted(REPOSITORY.glob("*.md")),
]
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}
HEAVY = {"torch", "torchvision", "keras", "timm", "open_clip", "transformers", "medmnist", "gradio", "faiss", "sklearn"}

FUNCTION_LINES, FILE_LINES = 60, 350


def _named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES]


def _module(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_functions_and_files_are_short() -> None:
    functions = [
        f"{_named(path)}:{node.lineno} {node.name}"
        for path, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES
    ]
    files = [_named(path) for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > FILE_LINES]
    assert functions == []
    assert files == []


def test_modules_are_named_after_their_noun() -> None:
    assert [_named(path) for path in SOURCES if path.stem in EMPTY_NAMES] == []


def test_only_roots_reads_the_environment() -> None:
    def reads(node: ast.AST) -> bool:
        if isinstance(node, ast.Subscript):
            return isinstance(node.ctx, ast.Load) and ast.unparse(node.value) == "os.environ"
        return isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv")

    readers = {_named(path) for path, tree in _trees() for node in ast.walk(tree) if reads(node)}
    assert readers - {"retrieval/roots.py"} == set()


def test_only_artifacts_opens_files_for_writing() -> None:
    written = re.compile(r"\.(write_text|write_bytes|touch)\(|open\([^)\n]*[\"'](w|a|x|r\+)b?\+?[\"']")
    writers = [_named(path) for path in SOURCES if written.search(path.read_text(encoding="utf-8"))]
    assert [name for name in writers if name != "retrieval/artifacts.py"] == []


def test_text_names_no_place_of_one_machine() -> None:
    here = {str(REPOSITORY.parent) + "/", str(Path.home()) + "/"} - {"//", "/"}
    found = [_named(path) for path in TEXTS for place in here if place in path.read_text(encoding="utf-8")]
    assert found == []


def _imported(statement: str, home: Path) -> list[str]:
    """Run a statement in a fresh Python whose home and working directory is `home`; top-level modules it has loaded."""
    program = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home,
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(home), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def _modules(*, page: bool) -> list[str]:
    names = [_module(path) for path in SOURCES if path.stem != "__main__" and path.parent != REPOSITORY]
    return [name for name in names if name.startswith("retrieval.page") == page]


@pytest.mark.parametrize(("page", "heavy"), [(False, HEAVY), (True, HEAVY - {"gradio"})], ids=["rooms", "page"])
def test_importing_is_light_and_writes_nothing(page: bool, heavy: set[str], tmp_path: Path) -> None:
    loaded = _imported(f"import {', '.join(_modules(page=page))}", tmp_path)
    assert sorted(heavy.intersection(loaded)) == []
    assert list(tmp_path.iterdir()) == []
