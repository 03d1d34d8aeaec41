"""`make setup` on machines where something is missing: one line that names the cure. No network is used."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("awk", "cut", "df", "dirname", "env", "grep", "head", "ls", "mkdir", "rm", "sh", "tail", "touch")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A checkout of nothing but the setup, and a PATH (`bin`) with the usual tools and no Python."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "setup", tmp_path / "scripts" / "setup")
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def put(bare: Path, name: str, script: str) -> Path:
    """An executable of that name on the PATH."""
    file = bare / "bin" / name
    file.unlink(missing_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def put_python(bare: Path, *, has_venv: bool = True, pip: str = "exit 0", kernels: str = "exit 0") -> None:
    """A Python 3.11 that makes environments in which `pip install` and all else do as told."""
    inner = f'case "$*" in *"pip install"*) {pip};; *"-m processors.compile_kernels"*) {kernels};; esac; exit 0'
    put(
        bare,
        "python3.11",
        f"""case "$*" in
*"import venv"*) exit {0 if has_venv else 1};;
*version_info*print*|*print*version_info*) echo 3.11;;
*"-m venv"*)
    mkdir -p .venv/bin
    touch .venv/pyvenv.cfg
    printf '%s\\n' '#!/bin/sh' '{inner}' > .venv/bin/python
    chmod +x .venv/bin/python;;
*--version*) echo "Python 3.11.0";;
esac
exit 0""",
    )
    found = shutil.which("chmod")
    assert found is not None
    (bare / "bin" / "chmod").symlink_to(found)


def setup(bare: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [bare / "scripts" / "setup"],
        env={"PATH": str(bare / "bin"), "HOME": str(bare), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def failure(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that tells what failed."""
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("setup: ")
    assert "Traceback" not in done.stderr
    return last


def test_no_python(bare: Path) -> None:
    assert "needs Python 3.11 or newer" in failure(setup(bare))


def test_an_old_python(bare: Path) -> None:
    put(bare, "python3", 'case "$*" in --version) echo "Python 3.9.2";; *) exit 1;; esac')
    line = failure(setup(bare))
    assert "found: Python 3.9.2" in line
    assert "PYTHON=" in line


def test_a_python_without_venv(bare: Path) -> None:
    put_python(bare, has_venv=False)
    assert "python3.11 has no venv module: install it (Debian, Ubuntu: apt install python3.11-venv)" in failure(
        setup(bare)
    )


def test_a_python_by_request(bare: Path) -> None:
    put_python(bare)
    assert "needs Python 3.11" in failure(setup(bare, PYTHON="no-such-python"))


def test_too_little_disk(bare: Path) -> None:
    put_python(bare)
    put(bare, "df", 'echo "Filesystem 1024-blocks Used Available"; echo "/dev/x 100 90 1048576"')
    assert "only 1024 MB free" in failure(setup(bare))


def test_an_index_that_cannot_be_reached(bare: Path) -> None:
    put_python(bare, pip='echo "ERROR: Could not find a version: connection refused"; exit 1')
    line = failure(setup(bare))
    assert "check the network, HTTPS_PROXY and PIP_INDEX_URL" in line
    assert not (bare / ".venv" / ".ready").exists()


def test_a_folder_that_is_no_environment_is_left_alone(bare: Path) -> None:
    put_python(bare)
    (bare / ".venv").mkdir()
    (bare / ".venv" / "mine").write_text("kept")
    assert "is no virtual environment: move it away" in failure(setup(bare))
    assert (bare / ".venv" / "mine").read_text() == "kept"


def test_all_is_there(bare: Path) -> None:
    put_python(bare)
    done = setup(bare, VIRTUAL_ENV="/elsewhere")
    assert done.returncode == 0, done.stderr
    assert (bare / ".venv" / ".ready").exists()
    assert (bare / ".engagement").is_dir()


def test_the_kernels_are_compiled_with_their_progress(bare: Path) -> None:
    put_python(bare, kernels="echo kernels: 3 of 77; exit 0")
    done = setup(bare)
    assert done.returncode == 0, done.stderr
    assert "kernels: 3 of 77" in done.stderr


def test_kernels_that_cannot_be_compiled(bare: Path) -> None:
    put_python(bare, kernels="echo no compiler >&2; exit 1")
    assert "the kernels cannot be compiled or kept" in failure(setup(bare))
    assert not (bare / ".venv" / ".ready").exists()


def test_make_alone_lists_what_there_is() -> None:
    done = subprocess.run(
        ["make", "-C", ROOT], capture_output=True, text=True, timeout=30, check=True, env=dict(os.environ)
    )
    for target in ("setup", "demo", "test", "test-unit", "lint", "bench", "clean"):
        assert f"make {target} " in done.stdout
