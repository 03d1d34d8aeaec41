"""Text literals of ClickHouse's SQL, for statements that people read and paste, and for conditions that are written
into a larger statement. Other statements that the pipeline sends have parameters instead."""


def string_literal(text: str) -> str:
    r"""Quotes a text on a single line of printable characters.

    Backslashes and quotes are escaped. Characters that do not print (controls, line ends, direction marks, unusual
    spaces) and backticks are written as bytes, so no text can end or hide a part of the line, or end the Markdown code
    block that shows the statement.

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
