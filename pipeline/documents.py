"""Reads YAML files of the operator safely; errors name the place and the cure."""

from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from pipeline.errors import SettingsError


def read_yaml(path: Path) -> Any:
    """Reads a YAML file; an empty one is None. Blocks on reading. Raises SettingsError that begins with the path."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}); name a YAML file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8; save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped
    """A safe loader that refuses a field given twice; YAML would silently drop the first."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        said: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in said:
                raise ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
            said.add(str(key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping
