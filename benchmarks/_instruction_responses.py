"""Responses to IFEval's prompts, made to follow, nearly follow and break their instructions.

Written by rule from a seed: nothing here is a model's text, and the same seed gives the same rows.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

SENTENCES = """
The river rose 3.5 feet overnight, and nobody in town slept well.
Dr. Alvarez said, "Nothing here is urgent." Then she left.
Have you ever seen the U.S. coast at 6 a.m. in winter?
Mr. J. R. Whitfield of Barlow Corp. paid $4,200.50 for it!
Well... maybe we should wait.
It was late (very late!) when the U.N. vote came in.
First, boil the water. Second, add salt, e.g. sea salt, and stir.
"Stop!" he cried. "Who is there?"
We met on Jan. 5 at St. Mary's. The door was open.
Some people call this luck; others call it work: I call it both.
NASA and the FBI don't share offices, but they DO share a street.
She can't say WHY it FAILED - IT'S ODD, ISN'T IT?
The price fell to No. 3 on the list, i.e. below the average...
What a day?! Nobody expected that.
He lives at 12 Elm St. near the park. Every morning he runs.
My résumé mentions naïve Bayes, a café and 10% of π.
See https://example.org/a.b?c=d for details, etc. and so on.
The team won 3-2. 2 players were hurt.
This costs approx. 5 dollars vs. 7 dollars before.
Please remember to bring the book.
I think the answer is 42. Unfortunately nobody asked the question.
We are going to need a bigger table, aren't we?
Prof. Lee (Univ. of Ohio) retired in Sept. Her students wrote a song.
Plan A failed. Plan B. C. worked fine.
Time flies. Fruit flies too... Nobody knows why. ... And yet.
Read chapters 1., 2. and 3. before Monday.
ROCK 'N' ROLL ISN'T DEAD. THEY'VE GOTTA GO. I CANNOT.
""".strip().split("\n")

FOREIGN = {
    "ar": "صباح الخير، اليوم جميل جدا ونحن نذهب إلى السوق لشراء الخبز والفاكهة للأطفال.",
    "bg": "Добро утро, днес времето е хубаво и отиваме на пазара, за да купим хляб и плодове.",
    "bn": "শুভ সকাল, আজ দিনটি খুব সুন্দর এবং আমরা বাজারে রুটি ও ফল কিনতে যাচ্ছি।",
    "de": "Guten Morgen, heute ist das Wetter schön und wir gehen zum Markt, um Brot zu kaufen.",
    "es": "Buenos días, hoy hace buen tiempo y vamos al mercado para comprar pan y fruta.",
    "fa": "صبح بخیر، امروز هوا بسیار خوب است و ما برای خرید نان و میوه به بازار می‌رویم.",
    "fi": "Hyvää huomenta, tänään on kaunis päivä ja menemme torille ostamaan leipää ja hedelmiä.",
    "fr": "Bonjour, il fait beau aujourd'hui et nous allons au marché acheter du pain et du lait.",
    "gu": "સુપ્રભાત, આજે દિવસ ખૂબ સુંદર છે અને અમે બજારમાં રોટલી અને ફળ ખરીદવા જઈએ છીએ.",
    "he": "בוקר טוב, היום יפה מאוד ואנחנו הולכים לשוק לקנות לחם ופירות לילדים.",
    "hi": "सुप्रभात, आज का दिन बहुत सुंदर है और हम बाजार से रोटी और फल खरीदने जा रहे हैं।",
    "it": "Buongiorno, oggi il tempo è bello e andiamo al mercato per comprare pane e frutta.",
    "ja": "おはようございます。今日はとても良い天気なので、市場へパンと果物を買いに行きます。",
    "kn": "ಶುಭೋದಯ, ಇಂದು ದಿನ ತುಂಬಾ ಸುಂದರವಾಗಿದೆ ಮತ್ತು ನಾವು ರೊಟ್ಟಿ ಖರೀದಿಸಲು ಮಾರುಕಟ್ಟೆಗೆ ಹೋಗುತ್ತಿದ್ದೇವೆ.",
    "ko": "안녕하세요, 오늘은 날씨가 아주 좋아서 우리는 빵과 과일을 사러 시장에 갑니다.",
    "ml": "സുപ്രഭാതം, ഇന്ന് വളരെ മനോഹരമായ ദിവസമാണ്, ഞങ്ങൾ റൊട്ടി വാങ്ങാൻ ചന്തയിലേക്ക് പോകുന്നു.",
    "mr": "सुप्रभात, आजचा दिवस खूप सुंदर आहे आणि आम्ही बाजारात भाकरी आणि फळे विकत घेण्यासाठी जात आहोत.",
    "ne": "शुभ प्रभात, आजको दिन धेरै राम्रो छ र हामी बजारमा रोटी र फलफूल किन्न जाँदैछौं।",
    "pa": "ਸ਼ੁਭ ਸਵੇਰ, ਅੱਜ ਦਾ ਦਿਨ ਬਹੁਤ ਸੋਹਣਾ ਹੈ ਅਤੇ ਅਸੀਂ ਬਾਜ਼ਾਰ ਤੋਂ ਰੋਟੀ ਖਰੀਦਣ ਜਾ ਰਹੇ ਹਾਂ।",
    "pl": "Dzień dobry, dzisiaj jest piękna pogoda i idziemy na targ, żeby kupić chleb i owoce.",
    "pt": "Bom dia, hoje o tempo está bonito e vamos ao mercado para comprar pão e fruta.",
    "ru": "Доброе утро, сегодня хорошая погода, и мы идём на рынок купить хлеб и фрукты.",
    "sw": "Habari za asubuhi, leo ni siku nzuri sana na tunakwenda sokoni kununua mkate.",
    "ta": "காலை வணக்கம், இன்று மிகவும் அழகான நாள், நாங்கள் ரொட்டி வாங்க சந்தைக்குச் செல்கிறோம்.",
    "te": "శుభోదయం, ఈ రోజు చాలా అందమైన రోజు మరియు మేము రొట్టె కొనడానికి మార్కెట్‌కు వెళ్తున్నాము.",
    "th": "สวัสดีตอนเช้า วันนี้อากาศดีมาก เราจะไปตลาดเพื่อซื้อขนมปังและผลไม้",
    "uk": "Доброго ранку, сьогодні чудова погода, і ми йдемо на ринок, щоб купити хліб і фрукти.",
    "ur": "صبح بخیر، آج کا دن بہت خوبصورت ہے اور ہم روٹی اور پھل خریدنے بازار جا رہے ہیں۔",
    "vi": "Chào buổi sáng, hôm nay trời đẹp và chúng tôi đi chợ để mua bánh mì và trái cây.",
    "zh": "早上好，今天天气很好，我们去市场买面包和水果。",
}

ODD = (
    "",
    " ",
    "\n\n\n",
    "\t\u00a0\u2003",
    "12345",
    "?",
    "...",
    "🙂🙃",
    "My answer is yes.",
    "My answer is Maybe",
    '"',
    '""',
    '"quoted"',
    "“curly”",
    "[a][b] [c\nd]",
    "[[[[[]]]]]",
    "<<>>",
    "<< >>",
    "<<a>>",
    "<<<a>>>\n<<b\nc>>",
    "***",
    "a***b",
    "a ****** b",
    "******a******b******",
    "a******a",
    "*a* **b** ***c*** ****",
    "* \n*\n* x\n- y\n -\n** z\n\t* w",
    "P.S. P.P.S p. p. s",
    "PS no dots",
    '```json\n{"a": [1, 2, {"b": null}]}\n```',
    "```JSON{}```",
    "```json\n{'a': 1}\n```",
    "NaN",
    '{"a": 1',
    "SECTION 1\nSection 2 SECTION3 PARAGRAPH\t4 PARAGRAPH 5Day 1",
    "Ⅷ ǅ ß İ",
    "İSTANBUL ISN'T ΣΑΣ.",
    "A. B. C. D.",
    "a\x0bb\x0cc\u2028d\re",
    "I'M. YOU'LL'VE; WE'D,THEY'S \"X'S\" 'QUOTED' A--B A-'B C,D E,5 F:G 'TIS D'YE GIMME.",
)

Change = Callable[[str, dict[str, Any], random.Random], str]


def prose(rng: random.Random, count: int) -> str:
    """`count` lines of sentences, in paragraphs."""
    glue = (" ", " ", " ", "\n", "\n\n", "  ")
    return "".join(rng.choice(SENTENCES) + rng.choice(glue) for _ in range(count)).strip()


def near(rng: random.Random, number: int) -> int:
    """A number at or beside a threshold."""
    return max(0, number + rng.choice((-1, 0, 0, 1, 2)))


def _words(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    words = text.split(" ")
    target = near(rng, kwargs["num_words"])
    while sum(map(len, words)) and len(words) < target:
        words += words[: target - len(words)]
    return " ".join(words[: max(1, target)])


def _sentences(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    del text
    return " ".join(rng.choice(SENTENCES) for _ in range(near(rng, kwargs["num_sentences"]) or 1))


def _paragraphs(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    divider = rng.choice(("\n***\n", "\n\n***\n\n", "***", " *** "))
    count = near(rng, kwargs["num_paragraphs"])
    return divider.join([text[:200], *(prose(rng, 2) for _ in range(count - 1))])


def _first_word(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    del text
    parts = [prose(rng, 1).replace("\n", " ") for _ in range(near(rng, kwargs["num_paragraphs"]))]
    place = kwargs["nth_paragraph"] - 1
    if place < len(parts):
        opening = rng.choice(("{}", "{},", '"{}"', "{}'s", "'{}", "**{}**", "{} "))
        parts[place] = opening.format(kwargs["first_word"].title()) + " " + parts[place]
    return rng.choice(("\n\n", "\n\n", "\n\n\n")).join(parts)


def _insert(text: str, piece: str, rng: random.Random) -> str:
    place = rng.randrange(len(text) + 1)
    space = text.find(" ", place)
    at = space if space >= 0 else len(text)
    return f"{text[:at]} {piece} {text[at:]}"


def _repeat_in(piece: str, count: int) -> Change:
    def change(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
        for _ in range(count):
            text = _insert(text, piece, rng)
        return text

    return change


def _keywords(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    for word in kwargs["keywords"]:
        if rng.random() < 0.85:
            text = _insert(text, rng.choice((word, word.upper(), word + "s")), rng)
    return text


def _forbidden(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    word = rng.choice(kwargs["forbidden_words"])
    piece = rng.choice((word, word.upper(), word + "x", f"({word})", f"_{word}_", ""))
    return _insert(text, piece, rng)


def _sections(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    name = kwargs["section_spliter"]
    style = rng.choice(("{} {}\n", "{}{}: ", "**{} {}**\n", "{}\n{} "))
    count = near(rng, kwargs["num_sections"])
    return (
        "\n".join(style.format(name, place + 1) + prose(rng, 1) for place in range(count)) or text
    )


def _bullets(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    mark = rng.choice(("* ", "- ", "  * ", "*", "** ", "\t- "))
    lines = [mark + rng.choice(SENTENCES) for _ in range(near(rng, kwargs["num_bullets"]))]
    return rng.choice(("", text.split("\n")[0] + "\n")) + rng.choice(("\n", "\n\n")).join(lines)


def _json(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    del kwargs
    body = json.dumps({"text": text, "n": [1, 2.5, None]}, indent=rng.choice((None, 2)))
    return rng.choice(
        ("{}", "```json\n{}\n```", "```\n{}\n```", "Here:\n{}", "```json {}")
    ).replace("{}", body)


def _ending(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    return text + rng.choice(("\n", " ")) + kwargs["end_phrase"] + rng.choice(("", '"', " ", "."))


def _postscript(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    marker = kwargs["postscript_marker"]
    form = rng.choice((marker, marker.lower(), marker.replace(".", ". "), marker.replace(".", "")))
    return f"{text}\n\n{form} One more thing."


def _repeat(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    prompt = kwargs["prompt_to_repeat"]
    return rng.choice(("{p}\n\n{t}", "Sure!\n{p}\n{t}", "{p}", "  {p} {t}", "**{p}**\n{t}")).format(
        p=rng.choice((prompt, prompt.upper(), prompt[:-1])), t=text
    )


def _language(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    choices = [kwargs["language"], kwargs["language"], rng.choice(list(FOREIGN)), "en"]
    sentence = FOREIGN.get(rng.choice(choices), text)
    return rng.choice(("{s}", "{s} {s}", "Sure!\n{s}", "{s}\nThe end.")).format(s=sentence)


def _capital_words(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    words = text.lower().split(" ")
    places = rng.sample(range(len(words)), min(len(words), near(rng, kwargs["capital_frequency"])))
    for place in places:
        words[place] = words[place].upper()
    return " ".join(words)


def _letter(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
    letter = kwargs["letter"]
    if rng.random() < 0.5:
        text = text.replace(letter, "").replace(letter.upper(), "")
    return text + "\n" + " ".join(letter * near(rng, kwargs["let_frequency"]))


def _case(change: Callable[[str], str]) -> Change:
    def apply(text: str, kwargs: dict[str, Any], rng: random.Random) -> str:
        changed = change(text)
        return changed if rng.random() < 0.75 else changed + rng.choice((" Ok", " x", " X", " ñ"))

    return apply


FOLLOW: dict[str, Change] = {
    "length_constraints:number_words": _words,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "language:response_language": _language,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:multiple_sections": _sections,
    "change_case:capital_word_frequency": _capital_words,
    "keywords:existence": _keywords,
    "keywords:frequency": lambda text, kwargs, rng: _repeat_in(
        kwargs["keyword"], near(rng, kwargs["frequency"])
    )(text, kwargs, rng),
    "keywords:letter_frequency": _letter,
    "keywords:forbidden_words": _forbidden,
    "detectable_content:number_placeholders": lambda text, kwargs, rng: _repeat_in(
        "[name]", near(rng, kwargs["num_placeholders"])
    )(text, kwargs, rng),
    "detectable_format:number_highlighted_sections": lambda text, kwargs, rng: _repeat_in(
        rng.choice(("*so*", "**so**", "* *", "*a b*")), near(rng, kwargs["num_highlights"])
    )(text, kwargs, rng),
    "detectable_format:title": lambda text, kwargs, rng: f"<<My title>>\n{text}",
    "detectable_format:constrained_response": lambda text, kwargs, rng: rng.choice(
        ("My answer is yes.", "My answer is no.", "I'd say: My answer is maybe.", "my answer is no")
    ),
    "detectable_format:json_format": _json,
    "combination:two_responses": lambda text, kwargs, rng: rng.choice(
        ("{}******{} b", "{}\n******\n{}", "{} ****** {} b ****** c", "******{}******b")
    ).replace("{}", text),
    "change_case:english_capital": _case(str.upper),
    "change_case:english_lowercase": _case(str.lower),
    "punctuation:no_comma": lambda text, kwargs, rng: text.replace(",", ""),
    "detectable_content:postscript": _postscript,
    "startend:end_checker": _ending,
    "combination:repeat_prompt": _repeat,
    "startend:quotation": lambda text, kwargs, rng: f'"{text}"',
}

WRAP: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: text,
    lambda text: text,
    lambda text: "Sure, here is my answer:\n" + text,
    lambda text: text + "\nI hope this helps, friend!",
    lambda text: "Sure.\n" + text + "\nBye.",
    lambda text: f"**{text}**",
    lambda text: f"```\n{text}\n```",
    lambda text: text.upper(),
    lambda text: text.lower(),
    lambda text: text[: len(text) // 2],
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace(" ", "\u00a0"),
    lambda text: f'"{text}"',
)


def responses(row: dict[str, Any], rng: random.Random, count: int) -> Iterator[str]:
    """`count` responses to one row: most try to follow, one in eight is an oddity."""
    wanted = list(zip(row["instruction_id_list"], row["kwargs"], strict=True))
    order = {name: place for place, name in enumerate(FOLLOW)}
    wanted.sort(key=lambda pair: order[pair[0]])
    for _ in range(count):
        if rng.random() < 0.125:
            yield rng.choice(ODD)
            continue
        text = prose(rng, rng.choice((1, 3, 8, 15)))
        for name, kwargs in wanted:
            if rng.random() < 0.9:
                text = FOLLOW[name](text, kwargs, rng)
        yield rng.choice(WRAP)(text)
