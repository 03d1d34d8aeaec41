"""The maps that are shipped, by name."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from pipeline.errors import SettingsError

SHIPPED: Final = Path(str(files("producers.mapping").joinpath("maps")))


def find_map(name: str) -> Path:
    """Returns the file of a map: a path, or the name of a shipped one. Raises SettingsError that names the shipped."""
    if Path(name).is_file():
        return Path(name)
    shipped = SHIPPED / f"{name}.yaml"
    if "/" not in name and shipped.is_file():
        return shipped
    known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
    raise SettingsError(f"--map {name}: neither a file nor a shipped map; shipped are {known}")
