"""Labels of posts: what their makers know of them, such as campaign, format, language or product.

Stored rows have labels as maps; the columns of events have them flat: key, value, key, value, ...
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from schemas.folding import fold_name

LABEL_PREFIX: Final = "label:"
MOST_LABELS: Final = 16

LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
LabelValue = Annotated[str, StringConstraints(max_length=256)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=MOST_LABELS)]


def flat_labels(labels: Mapping[str, str] | None) -> list[str]:
    """Returns labels as a list of key, value, key, value, ..., with keys in lower case, sorted, without empty values.

    Of two keys that fold to one, the last in the order of their spelling counts.
    """
    if not labels:
        return []
    folded = {key.lower(): value.strip() for key, value in sorted(labels.items())}
    return [part for key in sorted(folded) if folded[key] for part in (key, folded[key])]


def label_conversations(labels: Sequence[str], keys: Collection[str]) -> list[str]:
    """Returns the conversations `label:<key>=<value>` of flat labels whose key is among `keys`; values are folded."""
    pairs = zip(labels[::2], labels[1::2], strict=True)
    return [f"{LABEL_PREFIX}{key}={name}" for key, value in pairs if key in keys and (name := fold_name(value))]
