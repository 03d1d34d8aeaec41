"""The jars of Kafka, fetched once, shared by all stacks of a user, and verified against jars.lock.

`jars.lock` has a line per jar: sha256, two spaces, group:artifact:version. `python -m pipeline.embedded.jars` fetches
the jars; with `--relock` the command writes jars.lock again.
"""

import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from pipeline.embedded.state import locked
from pipeline.errors import StackError

LOCK_FILE: Final = Path(__file__).with_name("jars.lock")

ROOTS: Final = ("org.apache.kafka:kafka_2.13:4.4.0", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5")
"""The artifacts that jars.lock is resolved from, one by one: resolved together, the versions that log4j manages for its
tests (kafka-clients 3.9.1) would win over the versions that Kafka asks for."""


@dataclass(frozen=True)
class LockedJar:
    """A jar of jars.lock; `coordinate` is group:artifact:version."""

    sha256: str
    coordinate: str

    @property
    def filename(self) -> str:
        """Returns the name of the file in the cache."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def ensure_jars(say: Callable[[str], None], *, cache: Path | None = None) -> list[Path]:
    """Fetches missing jars (about 43 MB in all), verifies every jar and returns the paths.

    Blocks while fetching, and while another process fetches. Raises StackError when the registry cannot be reached or a
    jar has another checksum; a wrong jar is never replaced silently.
    """
    folder = cache or jar_cache()
    jars = locked_jars()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"{folder}: {error.strerror}; set XDG_CACHE_HOME to a folder that can be written") from None
    with locked(folder / ".lock", patience=600, what="the cache of jars"):
        missing = [jar for jar in jars if not (folder / jar.filename).exists()]
        if missing:
            say(f"fetching {len(missing)} jars of Kafka into {folder} (once)")
            _fetch(missing, folder)
        for jar in jars:
            file = folder / jar.filename
            if _sha256(file) != jar.sha256:
                raise StackError(
                    f"{file} is not the jar that jars.lock names (another sha256): delete it, then try again"
                )
    return [folder / jar.filename for jar in jars]


def jar_cache() -> Path:
    """Returns the folder of the jars: `engagement/jars` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "engagement" / "jars"


def locked_jars() -> list[LockedJar]:
    """Reads jars.lock."""
    return [LockedJar(*line.split()) for line in LOCK_FILE.read_text().splitlines() if line]


def write_lock() -> None:
    """Resolves ROOTS with their dependencies and writes jars.lock, for a new version of Kafka; review the diff."""
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        context = _maven(Path(scratch))
        artifacts: dict[tuple[str, str], Any] = {}
        for root in ROOTS:
            inputs, needed = context.resolver.resolve([context.create_dependency(root)])
            for dependency in [*inputs, *needed]:
                artifact = dependency.artifact
                artifacts.setdefault((artifact.groupId, artifact.artifactId), artifact)
        for artifact in artifacts.values():
            coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
            lines.append((coordinate, _sha256(artifact.resolve())))
    LOCK_FILE.write_text("".join(f"{sha256}  {coordinate}\n" for coordinate, sha256 in sorted(lines)))


def _fetch(jars: list[LockedJar], folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as scratch:
        context = _maven(Path(scratch))

        def fetch(jar: LockedJar) -> Path:
            path: Path = context.create_dependency(jar.coordinate).artifact.resolve()
            return path

        with ThreadPoolExecutor(8) as threads:
            futures = [threads.submit(fetch, jar) for jar in jars]
        for jar, future in zip(jars, futures, strict=True):
            flaw = future.exception()
            if flaw is not None:
                first = str(flaw).splitlines()[0] if str(flaw) else ""
                raise StackError(
                    f"{jar.filename} cannot be fetched ({type(flaw).__name__}: {first[:120]}): "
                    f"check the network and HTTPS_PROXY, or copy the jars that {LOCK_FILE.name} names into {folder}"
                )
            file = future.result()
            if _sha256(file) != jar.sha256:
                raise StackError(
                    f"{jar.filename} as fetched is not the one that jars.lock names (another sha256): try again"
                )
            shutil.move(file, folder / jar.filename)


def _maven(repository: Path) -> Any:
    try:
        maven = import_module("jgo.maven")
    except ImportError:
        raise StackError("jgo is not installed: pip install 'engagement-pipeline[embedded]'") from None
    logging.getLogger("jgo").setLevel(logging.ERROR)
    return maven.MavenContext(resolver=maven.PythonResolver(), repo_cache=repository, timeout=30)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _main(arguments: list[str]) -> int:
    """Fetches the jars, or writes jars.lock; prints an error in one line and returns 1."""
    try:
        if arguments == ["--relock"]:
            write_lock()
        else:
            ensure_jars(lambda line: print(line, file=sys.stderr))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
