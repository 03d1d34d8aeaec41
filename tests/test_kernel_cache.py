"""Kernels are never stale: an edit of what a compiled function calls or reads is seen, though numba looks only at the
file in which the function stands.
"""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from processors.runtime.kernel_cache import KEPT, VARIABLE, key_of, sources_of, use_kernel_cache

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = ROOT / "processors"

NUMBERS: Final = "STEP = 1\n"
CALLEE: Final = """
from numba import njit

from processors.numbers import STEP


@njit(cache=True)
def twice(x):
    return 2 * x + STEP
"""
CALLER: Final = """
from numba import njit

from processors.callee import twice


@njit(cache=True)
def once_more(x):
    return twice(x) + 1


if __name__ == "__main__":
    print(once_more(10), sum(once_more.stats.cache_hits.values()))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a compiled function that calls one of another file, which reads a constant of a third."""
    folder = tmp_path / "processors"
    folder.mkdir()
    for name, text in {"numbers": NUMBERS, "callee": CALLEE, "caller": CALLER, "other": ""}.items():
        (folder / f"{name}.py").write_text(text)
    for name in ("__init__.py", "runtime/__init__.py", "runtime/kernel_cache.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(PACKAGE / name, folder / name)
    return folder


def _run(package: Path, **variables: str) -> tuple[int, int]:
    """The result of the caller in a new process, and how many functions came from the cache."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | variables
    done = subprocess.run(
        [sys.executable, "-m", "processors.caller"],
        cwd=package.parent,
        env=environment | {"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result, hits = map(int, done.stdout.split())
    return result, hits


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.slow
def test_an_edit_of_a_callee_or_of_its_constant_is_seen(package: Path) -> None:
    assert _run(package) == (22, 0)
    assert _run(package) == (22, 1)
    _edit(package / "callee.py", "2 * x", "3 * x")
    assert _run(package) == (32, 0)
    _edit(package / "numbers.py", "1", "5")
    assert _run(package) == (36, 0)
    (package / "other.py").write_text("# what no kernel reads\n")
    assert _run(package) == (36, 1)
    _edit(package / "callee.py", "3 * x", "2 * x")
    _edit(package / "numbers.py", "5", "1")
    assert _run(package) == (22, 1), "what was compiled before is still there"


@pytest.mark.slow
def test_numba_alone_does_not_see_it(package: Path) -> None:
    """Why there is kernel_cache.py: where this fails, numba sees it itself."""
    (package / "__init__.py").write_text("")
    assert _run(package) == (22, 0)
    _edit(package / "callee.py", "2 * x", "3 * x")
    assert _run(package) == (22, 1)


def test_sources_are_all_files_with_compiled_functions_and_what_they_import() -> None:
    sources = {str(file.relative_to(ROOT)) for file in sources_of(PACKAGE)}
    compiled = {
        str(file.relative_to(ROOT))
        for folder in ("processors", "pipeline", "producers", "schemas", "deploy", "benchmarks")
        for file in (ROOT / folder).rglob("*.py")
        if re.search(r"^@\w*\.?n?jit\b", file.read_text(), flags=re.MULTILINE)
    }
    assert len(compiled) >= 10
    assert compiled <= sources
    named = [
        module.replace(".", "/") + ".py"
        for file in sources
        for module in re.findall(r"^from ((?:processors|schemas)\.[\w.]+) import", (ROOT / file).read_text(), re.M)
    ]
    assert named
    assert {name for name in named if (ROOT / name).exists()} <= sources


def test_the_key_follows_names_and_contents(package: Path) -> None:
    keys = [key_of(package)]
    (package / "other.py").write_text("x = 1\n")
    assert key_of(package) == keys[0]
    (package / "callee.py").rename(package / "called.py")
    keys.append(key_of(package))
    (package / "numbers.py").write_text("STEP = 2\n")
    keys.append(key_of(package))
    (package / "other.py").write_text("import numba\n")
    keys.append(key_of(package))
    assert len(set(keys)) == len(keys)


def test_the_first_folder_that_can_be_written_is_taken(package: Path, tmp_path: Path) -> None:
    name = f"kernels-{key_of(package)}"
    named, cache = tmp_path / "named", tmp_path / "cache"
    environment = {VARIABLE: str(named), "XDG_CACHE_HOME": str(cache)}
    assert use_kernel_cache(package, environment) == named / name
    assert environment[VARIABLE] == str(named / name)
    assert use_kernel_cache(package, environment) == named / name, "a child process takes the same"
    blocked = tmp_path / "file"
    blocked.write_text("")
    environment[VARIABLE] = str(blocked)
    assert use_kernel_cache(package, environment) == package / "__pycache__" / name
    shutil.rmtree(package / "__pycache__")
    (package / "__pycache__").write_text("")
    environment = {"XDG_CACHE_HOME": str(cache)}
    assert use_kernel_cache(package, environment) == cache / "engagement" / "numba" / name
    environment = {"XDG_CACHE_HOME": str(blocked)}
    assert use_kernel_cache(package, environment) is None
    assert environment == {"XDG_CACHE_HOME": str(blocked)}


PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


def _drop_override() -> None:
    """What root may not do in the next program: write where nobody may. Others never may."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
        raise OSError("root cannot give up its right to write everywhere")


def _read_only(package: Path, code: str, **environment: str) -> str:
    """What the code prints in the folder of the package, all of which is read-only."""
    folders = [package.parent, *(path for path in package.parent.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-B", "-c", code],
            cwd=package.parent,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(package.parent), "HOME": str(package), **environment},
            preexec_fn=_drop_override,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_kernels_of_a_read_only_folder_are_used_and_others_are_compiled_beside_them(package: Path) -> None:
    """As in an image with a read-only root: what was compiled into the image is found, on its disk."""
    base = package.parent / "ahead"
    assert _run(package, **{VARIABLE: str(base)}) == (22, 0)
    before = {file: file.stat().st_mtime_ns for file in base.rglob("*")}
    code = """
import os
from processors.caller import once_more
from processors.callee import twice
print(once_more(10), sum(once_more.stats.cache_hits.values()))
twice(1.5)
folder = os.environ["NUMBA_CACHE_DIR"]
files = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
print(folder)
print(sum(map(os.path.islink, files)), sum(not os.path.islink(file) for file in files))
"""
    result, folder, files = _read_only(package, code, NUMBA_CACHE_DIR=str(base)).splitlines()
    assert result == "22 1", "the compiled kernel was used"
    assert Path(folder).name == f"kernels-{key_of(package)}"
    assert not Path(folder).is_relative_to(package.parent)
    links, own = map(int, files.split())
    assert links >= 3
    assert own == 2, "the index and the code of one more signature"
    assert not Path(folder).exists(), "the links are removed at the end"
    assert {file: file.stat().st_mtime_ns for file in base.rglob("*")} == before


def test_folders_of_older_sources_are_removed(package: Path, tmp_path: Path) -> None:
    base = tmp_path / "named"
    for number in range(KEPT + 5):
        old = base / f"kernels-{number:016x}"
        old.mkdir(parents=True)
        (old / "f.nbi").write_text("")
        os.utime(old, (number, number))
    (base / "kernels-of-somebody-else").mkdir()
    taken = use_kernel_cache(package, {VARIABLE: str(base)})
    assert taken is not None
    left = {path.name for path in base.iterdir()}
    assert left == {f"kernels-{n:016x}" for n in range(5, KEPT + 5)} | {taken.name, "kernels-of-somebody-else"}
    (taken / "mine").write_text("")
    assert use_kernel_cache(package, {VARIABLE: str(base)}) == taken
    assert {path.name for path in base.iterdir()} == left


def test_every_kernel_is_kept_there() -> None:
    """In this process, whatever was imported first."""
    from processors.engagement.fold import hash_index, trees

    folder = os.environ[VARIABLE]
    assert Path(folder).name == f"kernels-{key_of(PACKAGE)}"
    for compiled in (hash_index.find, trees.attach):
        assert compiled._cache.cache_path.startswith(folder)
