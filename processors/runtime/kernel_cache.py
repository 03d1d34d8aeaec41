"""Chooses numba's cache folder: one folder for each state of the sources of compiled kernels.

numba looks for changes only in the file that defines a function. After an edit of a callee, or of a constant in another
file, the callers would be loaded as compiled before the edit, without a warning. So the folder's name is a hash of all
files with compiled functions and of all files of this project that they import.
"""

import atexit
import os
import re
import sys
import tempfile
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import rmtree
from typing import Final

VARIABLE: Final = "NUMBA_CACHE_DIR"

KEPT: Final = 8
"""The number of folders of other branches and versions that stay beside the newest, 20 MB each."""

NAME: Final = re.compile(r"kernels-[0-9a-f]{16}")
OURS: Final = ("processors", "pipeline", "schemas")
COMPILERS: Final = ("numba", "llvmlite", "numpy")

_USES_NUMBA: Final = re.compile(rb"^(?:from|import) numba\s", flags=re.MULTILINE)
"""Matches files with kernels: not those that only look at the compiler (numba.core)."""

_IMPORTS: Final = re.compile(r"^from ([\w.]+) import (?:\(([^)]*)\)|(.*))|^import ([\w.]+)", flags=re.MULTILINE)


def use_kernel_cache(package: Path, environment: MutableMapping[str, str]) -> Path | None:
    """Chooses the folder for the kernels of `package`, before any of them is imported: sets NUMBA_CACHE_DIR.

    The folder lies in the first writable one of these: the value of NUMBA_CACHE_DIR, `__pycache__` of the package, the
    user's cache (XDG_CACHE_HOME). numba uses no folder that cannot be written, so kernels that were compiled into one
    ahead of time (an image) are linked from the writable folder, which is a temporary one of this process where there
    is none. Where nothing is writable and nothing was compiled, sets nothing and returns None; numba warns then.
    """
    name = f"kernels-{key_of(package)}"
    compiled: Path | None = None
    for base in _bases(package, environment):
        folder = base / name
        is_new = not folder.exists()
        if _is_writable(folder):
            if is_new:
                _prune(base)
            return _use(folder, compiled, environment)
        if compiled is None and folder.is_dir():
            compiled = folder
    temporary = None if compiled is None else _temporary_base()
    return None if temporary is None else _use(temporary / name, compiled, environment)


def key_of(package: Path) -> str:
    """Returns a hash of the sources of all kernels and of the versions of their compilers."""
    digest = blake2b(digest_size=8)
    for part in (sys.version, *map(_version, COMPILERS)):
        digest.update(part.encode() + b"\0")
    for file in sources_of(package):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(package.parent)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def sources_of(package: Path) -> list[Path]:
    """Returns all files of the package that import numba, and the imported files of this project, which hold the
    kernels' constants."""
    sources: set[Path] = set()
    new = {file for file in package.rglob("*.py") if _USES_NUMBA.search(file.read_bytes())}
    while new:
        sources |= new
        new = {imported for file in new for imported in _imported(file, package.parent)} - sources
    return sorted(sources)


def _imported(file: Path, root: Path) -> Iterable[Path]:
    for module, several, names, whole in _IMPORTS.findall(file.read_text(encoding="utf-8")):
        if (module or whole).split(".")[0] not in OURS:
            continue
        # A name that is imported from a package may be a module.
        parts = [module or whole, *(f"{module}.{name}" for name in re.findall(r"\w+", several or names))]
        for part in parts:
            path = root.joinpath(*part.split("."))
            yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())


def _bases(package: Path, environment: MutableMapping[str, str]) -> Iterable[Path]:
    if named := environment.get(VARIABLE):
        # A parent process has chosen a folder there already.
        yield Path(named).parent if NAME.fullmatch(Path(named).name) else Path(named)
    yield package / "__pycache__"
    base = environment.get("XDG_CACHE_HOME", "")
    yield (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "engagement" / "numba"


def _use(folder: Path, compiled: Path | None, environment: MutableMapping[str, str]) -> Path:
    if compiled is not None:
        _link(compiled, folder)
    environment[VARIABLE] = str(folder)
    if numba := sys.modules.get("numba"):  # has read its settings already
        numba.config.CACHE_DIR = str(folder)
    return folder


def _link(compiled: Path, folder: Path) -> None:
    """Links from `folder` to each file of `compiled`. numba replaces files, so it never writes through a link."""
    for file in compiled.rglob("*.nb[ci]"):
        link = folder / file.relative_to(compiled)
        link.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            link.symlink_to(file)


def _temporary_base() -> Path | None:
    """Makes a folder, and removes the folder when this process ends. Returns None where none can be made."""
    try:
        base = Path(tempfile.mkdtemp(prefix="engagement-kernels-"))
    except OSError:
        return None
    maker = os.getpid()
    atexit.register(lambda: rmtree(base, ignore_errors=True) if os.getpid() == maker else None)
    return base


def _is_writable(folder: Path) -> bool:
    """Makes the folder, and updates the folder's time of use. Returns whether the folder can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        os.utime(folder)
    except OSError:
        return False
    return True


def _prune(base: Path) -> None:
    """Removes all folders except the last used. A process that uses a removed one compiles again."""
    used = sorted((_used_at(path), path) for path in base.iterdir() if NAME.fullmatch(path.name))
    for _, path in used[: -KEPT - 1]:
        rmtree(path, ignore_errors=True)


def _used_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
