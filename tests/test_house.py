"""The limits of CONTRIBUTING.md ("Habits") hold for the code that is installed; a failure names the culprits."""

import ast
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("schemas", "pipeline", "producers", "processors", "deploy")

MOST_LINES = 300
LITERAL_TABLES = {"schemas/tables.py"}
"""Files that are one literal table each, which no split would make easier to read."""

MOST_FILES = 14
"""Of code in one folder; `__init__.py` without content is not counted."""

MOST_HOMONYMS = 39
"""Public names that two or more modules define at their top level."""

MOST_PARAMETERS = 6
MOST_FUNCTION_LINES = 60

MOST_POINTING = 0.04
POINTING = frozenset(
    re.findall(
        r"\w+", "it its that what these those one ones they them whatever whoever whom such others another same there"
    )
)
"""Words that make a reader look for a noun elsewhere."""

House = dict[str, str]
"""Path within the project -> source text."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def read_house() -> House:
    files = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def long_files(house: House) -> list[str]:
    lengths = {path: text.count("\n") for path, text in house.items() if path not in LITERAL_TABLES}
    return [f"{path}: {lines} lines" for path, lines in lengths.items() if lines > MOST_LINES]


def crowded_folders(house: House) -> list[str]:
    folders = Counter(path.rpartition("/")[0] for path, text in house.items() if text.strip())
    return [f"{folder}/: {files} files" for folder, files in folders.items() if files > MOST_FILES]


def homonyms(house: House) -> list[str]:
    modules = defaultdict[str, list[str]](list)
    for path, text in house.items():
        for name in {name for node in ast.parse(text).body for name in _defined(node)}:
            modules[name].append(path)
    return sorted(f"{name}: {', '.join(paths)}" for name, paths in modules.items() if len(paths) > 1)


def pointing_words(house: House) -> tuple[float, list[str]]:
    """Returns the share of pointing words in first sentences of docstrings, and the sentences with two or more."""
    words, pointing, culprits = 0, 0, []
    for path, text in house.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function | ast.ClassDef | ast.Module) and (docstring := ast.get_docstring(node)):
                sentence = re.split(r"[.;:]\s|\n\n", docstring)[0]
                found = re.findall(r"[a-z']+", sentence.lower())
                hits = sum(word in POINTING for word in found)
                words, pointing = words + len(found), pointing + hits
                if hits > 1:
                    culprits.append(f"{path}: {' '.join(sentence.split())}")
    return pointing / max(words, 1), culprits


def wide_constructors(house: House) -> list[str]:
    return [
        f"{path}: {node.name} has {count} parameters"
        for path, text in house.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        for init in node.body
        if isinstance(init, ast.FunctionDef)
        and init.name == "__init__"
        and (count := _parameters(init)) > MOST_PARAMETERS
    ]


def long_functions(house: House) -> list[str]:
    """Finds functions that are too long, but for kernels, which numba compiles as a whole."""
    return [
        f"{path}: {node.name} has {lines} lines"
        for path, text in house.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function) and not _is_kernel(node) and (lines := _lines(node)) > MOST_FUNCTION_LINES
    ]


def test_files_are_short() -> None:
    assert_none(long_files(read_house()), f"files above {MOST_LINES} lines: split them by what they are about")


def test_folders_are_small() -> None:
    assert_none(crowded_folders(read_house()), f"folders with more than {MOST_FILES} files: give some a room")


def test_few_names_have_several_meanings() -> None:
    found = homonyms(read_house())
    told = f"{len(found)} public names are defined in several modules, more than {MOST_HOMONYMS}: rename or share them"
    assert len(found) <= MOST_HOMONYMS, listed(told, found)


def test_docstrings_name_their_subject() -> None:
    share, culprits = pointing_words(read_house())
    told = f"{share:.1%} of the words in first sentences of docstrings point elsewhere, not under {MOST_POINTING:.0%}"
    assert share < MOST_POINTING, listed(told, culprits)


def test_constructors_are_narrow() -> None:
    told = f"constructors with more than {MOST_PARAMETERS} parameters: pass a policy, or a dataclass of ports"
    assert_none(wide_constructors(read_house()), told)


def test_functions_are_short() -> None:
    told = f"functions above {MOST_FUNCTION_LINES} lines that are no kernels: take steps out of them"
    assert_none(long_functions(read_house()), told)


def test_tests_of_a_file_stay_together(request: pytest.FixtureRequest) -> None:
    """Side by side, each process would otherwise do the set-up that a file shares, some of which takes a minute."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("not side by side")
    assert request.node.nodeid.endswith("@test_house")


def test_each_limit_finds_its_culprits() -> None:
    body = "    pass\n" * MOST_FUNCTION_LINES
    house = {
        "a/long.py": "\n" * (MOST_LINES + 1),
        "a/first.py": 'X = 1\nclass Wide:\n    def __init__(self, a, b, c, d, e, *, f, g): "It is what it is."\n',
        "a/second.py": f"X: int = 2\ndef tall():\n{body}\n@njit(cache=True)\ndef kernel():\n{body}",
        "a/third.py": "_X = _Y = 3\nclass Narrow:\n    def __init__(self, a, b, c, d, e, *, f): pass\n",
        "schemas/tables.py": "\n" * 1000,
    } | {f"b/file_{number}.py": "_x = 1\n" for number in range(MOST_FILES + 1)}
    assert long_files(house) == ["a/long.py: 301 lines"]
    assert crowded_folders(house) == ["b/: 15 files"]
    assert homonyms(house) == ["X: a/first.py, a/second.py"]
    assert pointing_words(house) == (3 / 5, ["a/first.py: It is what it is."])
    assert wide_constructors(house) == ["a/first.py: Wide has 7 parameters"]
    assert long_functions(house) == ["a/second.py: tall has 61 lines"]


def assert_none(culprits: list[str], told: str) -> None:
    assert not culprits, listed(told, culprits)


def listed(told: str, culprits: list[str]) -> str:
    return "\n  ".join([told, *culprits])


def _defined(node: ast.stmt) -> Iterator[str]:
    """Yields the public names that a top-level statement defines."""
    names: list[str] = []
    if isinstance(node, Function | ast.ClassDef):
        names = [node.name]
    elif isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        names = [node.target.id]
    yield from (name for name in names if not name.startswith("_"))


def _parameters(init: ast.FunctionDef) -> int:
    return len(init.args.posonlyargs) + len(init.args.args) + len(init.args.kwonlyargs) - 1


def _lines(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _is_kernel(node: Function) -> bool:
    return any("njit" in ast.dump(decorator) for decorator in node.decorator_list)
