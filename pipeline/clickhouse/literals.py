"""Text as a literal of ClickHouse's SQL, for statements that people read and paste.

A statement that we send ourselves has parameters instead.
"""


def string_literal(text: str) -> str:
    r"""Quotes any text, on one line of signs that can be seen.

    Backslashes and quotes are escaped. What cannot be seen (controls, line ends, marks of direction, spaces that are no
    space) and backticks are written as bytes: no text ends the line, hides a part of it, or ends a block of code in
    Markdown that the statement is shown in.

    >>> print(string_literal("it's \\ `x`\n"))
    'it\'s \\ \x60x\x60\x0a'
    """
    return "'" + "".join(map(_escaped, text)) + "'"


def _escaped(sign: str) -> str:
    if sign in "\\'":
        return "\\" + sign
    if sign.isprintable() and sign != "`":
        return sign
    return "".join(f"\\x{byte:02x}" for byte in sign.encode())
