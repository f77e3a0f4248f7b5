"""One spelling for each way of writing the same mathematics.

`canonical` takes what stands in a box (LaTeX, plain text, Unicode) and returns a string in which
fractions are `\\frac`, spacing, sizing and font commands are gone, relations have one name, and
numbers have no thousands separators that are marked as such. It decides nothing: two answers are
equal or not in `compare`. All patterns are linear in the length of the text.
"""

import re
import unicodedata

__all__ = ["MAX_CHARACTERS", "canonical"]

MAX_CHARACTERS = 20_000
"""Longer answers are cut off before anything looks at them; see `compare.judge`."""

_GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
    "lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon", "phi",
    "chi", "psi", "omega",
)  # fmt: skip
_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-",
        "×": r"\cdot ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "∗": r"\cdot ",
        "÷": "/", "⁄": "/", "∕": "/", "∶": ":", "′": "'", "’": "'", "“": '"', "”": '"',
        "≤": r"\leq ", "⩽": r"\leq ", "≥": r"\geq ", "⩾": r"\geq ", "≠": r"\neq ",
        "≈": r"\approx ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
        "∅": r"\emptyset ", "±": r"\pm ", "∓": r"\mp ", "°": r"^\circ ", "√": r"\sqrt ",
        "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}",
        "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
        "⟨": r"\langle ", "⟩": r"\rangle ", "∣": "|", "∖": r"\setminus ",
        "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}", "⅙": r"\frac{1}{6}", "⅛": r"\frac{1}{8}",
        "€": "$", "£": "$", "¥": "$", "₹": "$", "₩": "$", "\u00a0": " ",
    }
    | {chr(0x03B1 + place): f"\\{name} " for place, name in enumerate(_GREEK)}
    | {"Δ": r"\Delta ", "Σ": r"\Sigma ", "Ω": r"\Omega ", "Φ": r"\Phi ", "Γ": r"\Gamma "}
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", "0123456789+-n")

_ALIASES = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac",
    "dbinom": "binom", "tbinom": "binom",
    "le": "leq", "leqslant": "leq", "ge": "geq", "geqslant": "geq", "ne": "neq",
    "times": "cdot", "ast": "cdot", "lbrace": "{", "rbrace": "}",
    "varnothing": "emptyset", "degree": "circ", "lor": "text{ or }", "land": "text{ and }",
    "epsilon": "varepsilon", "arctg": "arctan", "tg": "tan", "ctg": "cot",
    "textbackslash": "setminus", "backslash": "setminus", "bigcup": "cup", "bigcap": "cap",
    "rm": "", "bf": "", "it": "", "simeq": "approx", "thickapprox": "approx",
}  # fmt: skip
_CHARACTERS = {
    "lt": "<", "gt": ">", "lbrack": "[", "rbrack": "]", "colon": ":", "div": "/", "mid": "|",
    "vert": "|", "lvert": "|", "rvert": "|", "lparen": "(", "rparen": ")", "prime": "'",
    "leq": "\\leq ", "percent": "%", "Pr": "P",
}  # fmt: skip
_DROPPED = frozenset(
    ["left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl",
     "biggr", "Biggl", "Biggr", "middle", "displaystyle", "textstyle", "scriptstyle", "limits",
     "nolimits", "quad", "qquad", "thinspace", "medspace", "thickspace", "enspace",
     "negthinspace", "null", "boxed", "fbox", "framebox", "hfill", "noindent",
     "centering", "Large", "large", "small", "normalsize",
     "allowbreak", "nonumber", "mathopen", "mathclose", "mathbin", "mathrel", "mathord",
     "square", "blacksquare", "Box", "qed", "checkmark"]
)  # fmt: skip
_STYLES = (
    "mathrm|mathbf|mathit|mathsf|mathtt|mathnormal|boldsymbol|bm|pmb|mathcal|overrightarrow"
    "|ensuremath|underline"
)
_FONTS = f"{_STYLES}|operatorname"
_TEXTS = frozenset(
    ["text", "textbf", "textit", "textrm", "textnormal", "textsf", "texttt", "mbox", "hbox",
     "emph", "textup", "textsc", "unit", "si"]
)  # fmt: skip

_UNEQUAL = re.compile(r"(?<![\d)}])!=")  # behind a number it is a factorial: 5!=120
_UNPRINTED = re.compile(
    r"\\(?:h?phantom|vphantom|color|textcolor|hspace|vspace|label|tag|kern|mspace)\*?\s*\{[^{}]*\}"
)
_CHOOSE = re.compile(r"\{([^{}]*)\\choose\s*([^{}]*)\}")
_GROUP = r"[^{}]*(?:\{[^{}]*\}[^{}]*)*"
_OVER = re.compile(rf"\{{({_GROUP})\\over(?![A-Za-z])\s*({_GROUP})\}}")
_EMPHASIS = re.compile(r"\s*(\*{1,2}|_)([^*_].*[^*_]|[^*_])\1\s*")
_ANNOUNCED = re.compile(
    r"\s*\\text\{\s*(?:the\s+)?(?:final\s+)?answer(?:\s+is)?\s*:?\s*\}\s*:?", re.IGNORECASE
)
_UPRIGHT_NAME = re.compile(
    r"\\(?:text|mathrm|operatorname)\{\s*(gcd|lcm|max|min)\s*\}(?=\s*(?:[({^_]|\\\{|\\left))"
)
_ORDINAL = re.compile(
    r"(?P<number>\d+)(?P<open>(?:[\s^{~]|\\text(?:superscript|rm)?(?=\s*\{)|\\mathrm(?=\s*\{))*)"
    r"(?P<suffix>st|nd|rd|th)(?P<close>[\s}]*)(?![A-Za-z])"
)
_EMPTY_TEXT = re.compile(r"\\text\{\s*\}")
_UPRIGHT_UNIT = re.compile(
    r"(?<=[\d}\s])\\mathrm\s*\{((?:~|\\ )+\s*[a-zA-Z]+|\s*[a-zA-Z]{2,}|[^{}\\]*[/^][^{}\\]*)\}"
    r"|(?<=/)\s*\\mathrm\s*\{([a-zA-Z])\}|(?<=\d)\s*\\mathrm\s*\{([mgshlLNJWVAKHFT])\}"
)
_ESCAPED_TWICE = re.compile(r"\\\\(?=[A-Za-z{}])")
_COMMAND = re.compile(r"\\([A-Za-z]+)(?:\*(?=\{))?[ \t]*")
_FONT_GROUP = re.compile(rf"\\(?:{_FONTS})\s*\{{([^{{}}\\]*)\}}")
_FONT = re.compile(rf"\\(?:{_STYLES})(?![A-Za-z])(?=\s*[{{\\\w])")
_BLACKBOARD = re.compile(r"\\mathbb\s*([A-Z])")
_ROOT_SIGN = re.compile(r"√\s*(\d+(?:\.\d+)?)")
_PRICE = re.compile(r"[\s$]*(-?)\s*\\\$\s*(-?[\d.][\d.,{}\\! ]*?)[\s$.]*")
_RUPEES = re.compile(r"(?:\\text\{\s*)?(?:Rs|INR|USD|EUR|GBP)\.?[\s~]*\}?[\s~]*(?=\d)")
_CLOCK = re.compile(
    r"(?<![\d:.])(?P<hour>\d{1,2})(?:(?P<minutes>(?::[0-5]\d){1,2})[\s~]*|[\s~]+|(?=\\text))"
    r"(?P<open>\\text\{[\s~]*)?(?P<half>[AaPp])(?:\.\s?[Mm]\.?|[Mm])(?![A-Za-z])(?(open)\s*\})"
)
_UNIT_FRACTION = re.compile(r"\\frac\s*\{\s*\\text\{([^{}]*)\}\s*\}\{\s*\\text\{([^{}]*)\}\s*\}")
_SIGNED_INFINITY = re.compile(r"([-+]) +(?=\\infty)")
_MULTIPLIER = re.compile(
    r"(?<=\d)[\s~]*(?P<open>\\(?:text(?:rm)?|mbox|mathrm)\{[\s~]*)?"
    r"(?P<word>hundred|thousand|million|billion|trillion|dozen)(?![A-Za-z])\s*(?P<close>\})?"
)
_MULTIPLES = {"hundred": "10^{2}", "thousand": "10^{3}", "million": "10^{6}",
              "billion": "10^{9}", "trillion": "10^{12}", "dozen": "12^{1}"}  # fmt: skip
_LOOSE_COMMA = re.compile(r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d{3})")
_LONE_SIGN = re.compile(r"(?<![\^_])(?:\\text)?\{\s*([-+=<>])\s*\}")
_NOT_EQUAL = re.compile(r"\\not\s*=")
_PERIOD_ONLY = re.compile(r"(?<!\d)\.(?=\\(?:overline|bar|dot)(?![A-Za-z]))")
_BARE_CIRC = re.compile(r"(?<=\d)\s*\\circ(?![A-Za-z])\s*")
_DOLLAR = re.compile(r"\\?\$")
_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]")
_THIN_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\[,:;!]|\{\\[,:;]\})\s*(?=\d{3}(?!\d))")
_SPACES = re.compile(r"(?:\\[,;:! ]|~|\s)+")
_FRAC_ARGUMENT = re.compile(r"\\frac\s*(?:(\d)|\{([^{}]*)\}|([a-zA-Z]))\s*(?:(\d)|([a-zA-Z]))?")
_SQRT_BARE = re.compile(r"\\sqrt(\[[^\[\]{}]{1,8}\])?\s*([0-9]+|[a-zA-Z](?![a-zA-Z]))")
_SQRT_DIGIT = re.compile(r"\\sqrt\s*([0-9])")
_POWER_DIGITS = re.compile(r"([\^_])\s*(-?\d+)(?![\d.])")
_WORD_FUNCTION = re.compile(
    r"(?<![\\A-Za-z])(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt"
    r"|pi|infty|infinity|inf|theta|alpha|beta|(?:max|min|gcd|lcm)(?=\s*[({\\])|cup|oo)(?![A-Za-z])"
)
_WORD_ROOT = re.compile(r"(?<![\\A-Za-z])sqrt\s*(\d+)")
_WORDS = {"infinity": "infty", "inf": "infty", "oo": "infty"}
_TEXT_GROUP = re.compile(r"\\text\{[^{}]*\}")
_CIRC = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)\s*")
_PERCENT = re.compile(r"\\?%|(?<![A-Za-z])(?:percent(?:age)?|pct)(?![A-Za-z])")


def canonical(text: str) -> str:
    """The canonical spelling of `text`; "" for an answer that holds nothing visible.

    >>> canonical("$\\\\dfrac12\\\\,$")
    '\\\\frac{1}{2}'
    """
    text = _visible(text)
    if "√" in text:
        text = _ROOT_SIGN.sub(r"\\sqrt{\1}", text)
    text = _without_marks(text.translate(_UNICODE))
    text = _run(text, _SUPERSCRIPTS, "^")
    text = _run(text, _SUBSCRIPTS, "_")
    if "\\begin" not in text:
        text = _ESCAPED_TWICE.sub(r"\\", text)
    text = text.replace("\\\\", "\\cr ")
    text = _THIN_THOUSANDS.sub("", _LOOSE_COMMA.sub("{,}", text))
    text = _DOLLAR.sub(" ", _DELIMITERS.sub(" ", text))
    text = _RUPEES.sub(" ", text, 1)
    text = _ORDINAL.sub(_cardinal, text)
    if "{" in text:
        text = _LONE_SIGN.sub(r"\1", text)
    if any(word in text for word in _MULTIPLES):
        text = _MULTIPLIER.sub(_multiple, text)
    if "\\" in text:
        text = _one_command_for_each_thing(text)
    text = text.replace("{,}", ",").replace("===", "=").replace("==", "=")
    text = text.replace("<=", r"\leq ").replace(">=", r"\geq ")
    text = _UNEQUAL.sub(r"\\neq ", text)
    text = _CLOCK.sub(_time_of_day, text)
    text = text.replace("**", "^").replace("*", r"\cdot ")
    text = _SPACES.sub(" ", text)
    text = _PERCENT.sub("%", text)
    text = _outside_text(text)
    return _bare(text)


def _without_marks(text: str) -> str:
    """Markdown's emphasis off, and a price as an amount of dollars."""
    if text.lstrip()[:1] in ("*", "_") and (emphasis := _EMPHASIS.fullmatch(text)):
        return emphasis[2]
    if "\\$" in text and (price := _PRICE.fullmatch(text)):
        return f"{price[1]}{price[2]}\\text{{ dollars}}"
    return text


def _one_command_for_each_thing(text: str) -> str:
    text = _NOT_EQUAL.sub(r"\\neq ", text)
    text = _COMMAND.sub(_command, _UNPRINTED.sub(" ", text))
    text = _UPRIGHT_NAME.sub(r"\\\1", text)
    if (announced := _ANNOUNCED.match(text)) and announced.end() < len(text):
        text = text[announced.end() :]
    if "\\over" in text:
        text = _OVER.sub(r"\\frac{\1}{\2}", text)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", _EMPTY_TEXT.sub(" ", text))
    text = _UPRIGHT_UNIT.sub(
        lambda found: f"\\text{{{(found[1] or found[2] or found[3]).strip(' ~')}}}", text
    )
    text = _UNIT_FRACTION.sub(r"\\text{\1/\2}", text)
    text = _FONT_GROUP.sub(lambda found: " " + found[1] + " ", text)
    text = _BLACKBOARD.sub(r"\\mathbb{\1}", _FONT.sub(" ", text))
    if "\\circ" in text:
        text = _BARE_CIRC.sub(r"^\\circ ", _CIRC.sub(r"^\\circ ", text))
    return _PERIOD_ONLY.sub("0.", text)


def _visible(text: str) -> str:
    kept = []
    for character in text:
        code = ord(character)
        if code < 128:
            kept.append(character if code >= 32 or character in "\n\t" else "")
        elif 0xFF01 <= code <= 0xFF5E or 0x1D400 <= code <= 0x1D7FF:
            # Full-width forms of ASCII, and letters and digits in mathematical styles.
            kept.append(unicodedata.normalize("NFKC", character))
        elif unicodedata.category(character) not in ("Cc", "Cf", "Cs"):
            kept.append(character)
    return "".join(kept)


def _run(text: str, table: dict[int, int], mark: str) -> str:
    """Turn runs of super- or subscript characters into `^{...}` or `_{...}`."""
    if not any(chr(code) in text for code in table):
        return text
    letters = "".join(chr(code) for code in table)
    return re.sub(f"[{letters}]+", lambda found: mark + "{" + found[0].translate(table) + "}", text)


def _command(found: re.Match[str]) -> str:
    name = found[1]
    if name in _DROPPED:
        return " "
    if name in _CHARACTERS:
        return _CHARACTERS[name]
    if name in _TEXTS:
        return r"\text"
    alias = _ALIASES.get(name, name)
    if not alias:
        return " "
    following = found.string[found.end() : found.end() + 1]
    return "\\" + alias + (" " if alias[-1].isalpha() and following.isalnum() else "")


def _cardinal(found: re.Match[str]) -> str:
    """`12` for `12^{\\text{th}}`."""
    number = found["number"]
    teen = number[-2:-1] == "1"
    suffix = "th" if teen else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th")
    left = found["close"].count("}") - found["open"].count("{")
    return found[0] if found["suffix"] != suffix or left < 0 else number + "}" * left + " "


def _time_of_day(found: re.Match[str]) -> str:
    """`3:30\\text{ pm}` for `3:30 P.M.`, and `3:00` for an hour alone."""
    return f"{found['hour']}{found['minutes'] or ':00'}\\text{{ {found['half'].lower()}m}}"


def _multiple(found: re.Match[str]) -> str:
    """`5 million` is a number, not 5 of something."""
    opened = "\\text{" if found["open"] and not found["close"] else ""
    closed = "}" if found["close"] and not found["open"] else ""
    return f"\\cdot {_MULTIPLES[found['word']]} {opened}{closed}"


def _outside_text(text: str) -> str:
    """Apply the rules for mathematics to everything that is not inside `\\text{...}`."""
    parts: list[str] = []
    position = 0
    for group in _TEXT_GROUP.finditer(text):
        parts += [_mathematics(text[position : group.start()]), group[0]]
        position = group.end()
    parts.append(_mathematics(text[position:]))
    return "".join(parts)


def _mathematics(text: str) -> str:
    text = _WORD_ROOT.sub(r"\\sqrt{\1}", text)
    text = _WORD_FUNCTION.sub(lambda found: "\\" + _WORDS.get(found[1], found[1]) + " ", text)
    text = _FRAC_ARGUMENT.sub(_frac, text)
    text = _SQRT_DIGIT.sub(r"\\sqrt{\1}", text)
    text = _SQRT_BARE.sub(r"\\sqrt\1{\2}", text)
    text = _SIGNED_INFINITY.sub(r"\1", text)
    return _POWER_DIGITS.sub(r"\1{\2}", text)


def _frac(found: re.Match[str]) -> str:
    top = found[1] or found[3] or found[2] or ""
    bottom = found[4] or found[5]
    return "\\frac{" + top + "}" + ("{" + bottom + "}" if bottom else "")


def _bare(text: str) -> str:
    """Strip spaces, quotation marks, and the punctuation that ends a sentence, not a number."""
    text = text.strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'`":
        text = text[1:-1].strip()
    while text and (text[-1] in ".,;:\\" or text.endswith("\\cr")):
        text = text.removesuffix("\\cr") if text.endswith("\\cr") else text[:-1]
        text = text.rstrip()
    return text
