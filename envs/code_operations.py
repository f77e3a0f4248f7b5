"""The operations of the procedural code tasks: in words, and as a Python expression.

The table below holds, under what they take and give, two lines for each: the words, with the
numbers from `low` to `high` that `{k}` may be (`| low high`), and the expression that does it to
`x`. The order of the operations is the order they are drawn in, so it is part of what a seed means.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple


class Operation(NamedTuple):
    """One thing to do: what it takes and gives, in words, and as an expression of `x`."""

    takes: str
    gives: str
    words: str
    code: str


class Pattern(NamedTuple):
    """An operation of the table; `numbers` are those that `{k}` may be."""

    operation: Operation
    numbers: range

    def drawn(self, chance: random.Random) -> Operation:
        """Return the operation with a number in the place of `{k}`."""
        number = str(chance.choice(self.numbers))
        takes, gives, words, code = self.operation
        return Operation(takes, gives, *(each.replace("{k}", number) for each in (words, code)))


def applied(operations: Sequence[Operation], value: Any) -> Any:
    """Return what operations make of a value, which stays as it is."""
    for operation in operations:
        value = _function(operation.code)(value)
    return value


@lru_cache(maxsize=4096)
def _function(code: str) -> Callable[[Any], Any]:
    """Compile an expression of the table, and of nothing else."""
    made: Callable[[Any], Any] = eval(f"lambda x: {code}", {})
    return made


def _patterns(table: str) -> tuple[Pattern, ...]:
    patterns = []
    for block in table.strip().split("\n\n"):
        kinds, *lines = block.split("\n")
        takes, gives = kinds.split(" > ")
        for told, code in zip(lines[::2], lines[1::2], strict=True):
            words, _, numbers = told.partition(" | ")
            low, high = map(int, numbers.split()) if numbers else (0, 0)
            operation = Operation(takes, gives, words, code.strip())
            patterns.append(Pattern(operation, range(low, high + 1)))
    return tuple(patterns)


OPERATIONS: Final = _patterns("""
numbers > numbers
keep only the numbers that are divisible by {k} | 2 7
    [n for n in x if n % {k} == 0]
leave out the numbers that are divisible by {k} | 2 7
    [n for n in x if n % {k} != 0]
keep only the numbers that are greater than {k} | -5 25
    [n for n in x if n > {k}]
keep only the numbers that are less than {k} | 10 40
    [n for n in x if n < {k}]
add {k} to each number | 2 20
    [n + {k} for n in x]
multiply each number by {k} | 2 12
    [n * {k} for n in x]
replace each number n by {k} - n | 5 50
    [{k} - n for n in x]
replace each number by its remainder when divided by {k}, as Python's % gives it | 3 13
    [n % {k} for n in x]
square each number
    [n * n for n in x]
replace each number by its absolute value
    [abs(n) for n in x]
sort the numbers from the smallest to the largest
    sorted(x)
sort the numbers from the largest to the smallest
    sorted(x, reverse=True)
reverse the order of the numbers
    x[::-1]
leave out the first {k} numbers | 2 4
    x[{k}:]
keep only the last {k} numbers | 2 6
    x[-{k}:]
keep only the numbers whose position, counted from 0, is divisible by {k} | 2 4
    x[::{k}]
keep only the first of numbers that are equal
    list(dict.fromkeys(x))
replace each number by the sum of all numbers up to it, itself included
    [sum(x[: i + 1]) for i in range(len(x))]
replace the list by its differences: each number minus the one before it
    [b - a for a, b in zip(x, x[1:])]
move the first {k} numbers to the end | 2 3
    x[{k}:] + x[:{k}]
add to each number {k} times its position, counted from 0 | 1 9
    [n + {k} * i for i, n in enumerate(x)]

numbers > number
add the numbers up
    sum(x)
take the largest number, 0 if there is none
    max(x, default=0)
take the smallest number, 0 if there is none
    min(x, default=0)
count how many different numbers there are
    len(set(x))
count the numbers that are greater than {k} | -5 25
    sum(n > {k} for n in x)
subtract the smallest number from the largest, 0 if there is none
    max(x, default=0) - min(x, default=0)
add up the squares of the numbers
    sum(n * n for n in x)
subtract the numbers at odd positions (counted from 0) from the sum of all others
    sum(x[::2]) - sum(x[1::2])

numbers > text
write the numbers with a comma between each two, without spaces
    ",".join(map(str, x))

number > number
add {k} | 3 30
    x + {k}
multiply by {k} | 2 12
    x * {k}
take the remainder when divided by {k}, as Python's % gives it | 7 40
    x % {k}
add up the digits, without a sign
    sum(map(int, str(abs(x))))

text > text
reverse the text
    x[::-1]
write all letters as capitals
    x.upper()
write all letters as small ones
    x.lower()
swap small letters and capitals
    x.swapcase()
leave out the vowels a, e, i, o, u, small or capital
    "".join(c for c in x if c.lower() not in "aeiou")
replace each space by a hyphen
    x.replace(" ", "-")
leave out everything but letters and spaces
    "".join(c for c in x if c.isalpha() or c == " ")
write every character twice
    "".join(c + c for c in x)
leave out the first {k} characters | 2 6
    x[{k}:]
move the first {k} characters to the end | 2 6
    x[{k}:] + x[:{k}]
keep only the characters whose position, counted from 0, is divisible by {k} | 2 5
    x[::{k}]
replace each small letter by the one {k} places after it, a following z | 1 25
    "".join(chr((ord(c) - 97 + {k}) % 26 + 97) if "a" <= c <= "z" else c for c in x)

text > words
split the text at its spaces
    x.split()

text > number
count the vowels a, e, i, o, u, small or capital
    sum(c.lower() in "aeiou" for c in x)
count how many different characters there are
    len(set(x))

words > words
sort the words as Python orders texts
    sorted(x)
sort the words by length, the shortest first, equals in the order they had
    sorted(x, key=len)
reverse the order of the words
    x[::-1]
keep only the words of more than {k} characters | 2 5
    [w for w in x if len(w) > {k}]
reverse each word
    [w[::-1] for w in x]
write each word in capitals
    [w.upper() for w in x]
cut each word after its first {k} characters | 1 4
    [w[:{k}] for w in x]
keep only the first of words that are equal
    list(dict.fromkeys(x))
leave out the first {k} words | 2 3
    x[{k}:]
put in front of each word its position, counted from {k} | 0 9
    [str(i) + w for i, w in enumerate(x, {k})]

words > text
join the words with a hyphen between each two
    "-".join(x)
join the first characters of the words
    "".join(w[:1] for w in x)

words > numbers
replace each word by its length
    [len(w) for w in x]

words > number
add up the lengths of the words
    sum(map(len, x))
""")
