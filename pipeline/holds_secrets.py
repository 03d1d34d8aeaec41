"""Objects with secrets, kept out of pickles."""

from typing import Never


class HoldsSecrets:
    """An object with secrets, which refuses to be pickled: a pickle would have them in clear."""

    def __reduce__(self) -> Never:
        raise TypeError(f"{type(self).__name__} holds secrets and is not pickled; read it again where it is needed")
