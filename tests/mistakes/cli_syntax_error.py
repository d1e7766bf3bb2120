"""CLI: A syntax error in the script.

    SyntaxError: expected ':'
"""


def main()
    yield
