from __future__ import annotations

import inspect

import pytest

from qwq_env.schema.docstring import read_docstring

STYLES = {
    "google": """Move money.

    Between two accounts.

    Args:
        source (str, optional): Where it is
            taken from: an account.
        target: Who gets it.

            In full.
        amount (dict[str, tuple[int, int]]): How much.

    Returns:
        A receipt.

    Raises:
        ToolError: no money

    Example:
        >>> move("a")

    Note:
        Written by hand.
    """,
    "numpy": """Move money.

    Between two accounts.

    Parameters
    ----------
    source : str, optional
        Where it is
        taken from: an account.
    target
        Who gets it.

        In full.
    amount : int
        How much.

    Returns
    -------
    str
        A receipt.

    See Also
    --------
    other : Another.
    """,
    "sphinx": """Move money.

    Between two accounts.

    :param str source: Where it is
        taken from: an account.
    :type source: str
    :param target: Who gets it.
      In full.
    :param amount: How much.
    :returns: A receipt,
        in words.
    :rtype: str
    :raises ToolError: no money
    """,
    "epydoc": """Move money.

    Between two accounts.

    @param source: Where it is
        taken from: an account.
    @param target: Who gets it. In full.
    @param amount: How much.
    @return: A receipt.
    """,
    "sections between": """Move money.

    Returns:
        A receipt.

    Arguments:
        source: Where it is taken from: an account.
        target: Who gets it. In full.

    Between two accounts.

    Keyword Args:
        amount: How much.
    """,
    "without indentation": """Move money.

    Between two accounts.

    Args:
    source: Where it is taken from: an account.
    target: Who gets it. In full.
    amount: How much.
    """,
}


@pytest.mark.parametrize("style", STYLES)
def test_prose_and_parameters_are_read_in_every_style(style: str) -> None:
    read = read_docstring(inspect.cleandoc(STYLES[style]))

    assert read.prose == "Move money.\n\nBetween two accounts."
    assert read.parameters == {
        "source": "Where it is taken from: an account.",
        "target": "Who gets it. In full.",
        "amount": "How much.",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Say it.",
        "Answer in this form:\n\n    {name: value}",
        "Note: give whole numbers.",
        "Units:\n    metres",
        "Ask at 12:30, or write :smile: to them.",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "Heading\n-------\nof no section",
        "Two\n\nparagraphs: and a colon",
    ],
)
def test_what_is_no_section_stays(text: str) -> None:
    assert read_docstring(text) == (text, {})


def test_more_than_one_name_stars_and_the_last_word_of_sphinx() -> None:
    numpy = "S.\n\nParameters\n----------\nx, y : int\n    Where.\n*more : str\n    Others."
    sphinx = "S.\n\n:param list[int] x: Where.\n:param y: Where.\n:param more: Others.\n\nEnd."

    assert read_docstring(numpy).parameters == {"x": "Where.", "y": "Where.", "more": "Others."}
    assert read_docstring(sphinx) == ("S.\n\nEnd.", read_docstring(numpy).parameters)
