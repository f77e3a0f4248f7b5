"""What is true of whom in a procedural world, and the words for it.

Each relation gives one thing for each of its subjects, so chains of them ask for one answer.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Kind = Literal["person", "city", "novel", "firm", "bridge", "date"]


class Wording(NamedTuple):
    """How one split asks: whole questions, and what stands for the answer in a longer one."""

    questions: tuple[str, ...]
    phrases: tuple[str, ...] = ()


class Relation(NamedTuple):
    """`{x}` is the subject and `{y}` what it has.

    `page` says which page tells it: that of the subject, or that of the other. `hint` is a word
    that the page and whoever looks for it use.
    """

    name: str
    of: Kind
    gives: Kind
    page: Literal["own", "other"]
    hint: str
    told: tuple[str, ...]
    train: Wording
    heldout: Wording


RELATIONS: Final = (
    Relation(
        "author", "novel", "person", "own", "novel by",
        ("{x} is a novel by {y}.", "{x} is a novel; by {y} it was written within one winter."),
        Wording(
            ("Who wrote {x}?", "Who is the author of {x}?"),
            ("the author of {x}", "the person who wrote {x}"),
        ),
        Wording(("By whom was {x} written?",), ("the writer of {x}",)),
    ),
    Relation(
        "published", "novel", "date", "own", "published",
        ("It was published on {y}.", "The book was published, after long delays, on {y}."),
        Wording(("When was {x} published?", "On which day did {x} come out?")),
        Wording(("What is the publication date of {x}?",)),
    ),
    Relation(
        "setting", "novel", "city", "other", "takes place",
        ("The story of {x} takes place here.", "The novel {x} takes place in its streets."),
        Wording(
            ("In which city does {x} take place?", "Which city is the setting of {x}?"),
            ("the city described in {x}", "the setting of {x}"),
        ),
        Wording(("Where is {x} set?",), ("the scene of {x}",)),
    ),
    Relation(
        "birthday", "person", "date", "own", "born",
        ("{x} was born on {y}.", "Born on {y}, {x} grew up with four sisters."),
        Wording(("When was {x} born?", "What is the date of birth of {x}?")),
        Wording(("On what day did {x} come into the world?",)),
    ),
    Relation(
        "birthplace", "person", "city", "own", "native town",
        ("The native town of {x} is {y}.", "{x} often spoke of {y}, the native town."),
        Wording(
            ("In which city was {x} born?", "What is the native town of {x}?"),
            ("the town of birth of {x}", "the native town of {x}"),
        ),
        Wording(("Where did {x} come into the world?",), ("the birthplace of {x}",)),
    ),
    Relation(
        "teacher", "person", "person", "other", "pupil",
        ("The best known pupil of those years is {x}.", "{x} was a pupil in this house."),
        Wording(
            ("Who taught {x}?", "Whose pupil was {x}?"),
            ("the teacher of {x}", "the person who taught {x}"),
        ),
        Wording(("Under whom did {x} study?",), ("the tutor of {x}",)),
    ),
    Relation(
        "mayor", "city", "person", "other", "mayor",
        ("Today this person is the mayor of {x}.", "Later came the office of mayor of {x}."),
        Wording(
            ("Who is the mayor of {x}?", "Which person is mayor of {x}?"),
            ("the mayor of {x}", "the person who is mayor of {x}"),
        ),
        Wording(("Who governs {x}?",), ("the person who governs {x}",)),
    ),
    Relation(
        "city_founder", "city", "person", "own", "founded by",
        ("{x} was founded by {y}.", "{x}, founded by {y} as a market, has grown since."),
        Wording(
            ("Who founded the city of {x}?", "Which person founded {x}?"),
            ("the founder of {x}", "the person who founded {x}"),
        ),
        Wording(("By whom was {x} established?",), ("the person who established {x}",)),
    ),
    Relation(
        "firm_founder", "firm", "person", "other", "started the firm",
        ("At thirty this person started the firm {x}.", "A loan, and {x} was started, a firm."),
        Wording(
            ("Who started {x}?", "Who is the founder of {x}?"),
            ("the founder of {x}", "the person who started {x}"),
        ),
        Wording(("By whom was {x} set up?",), ("the person who set up {x}",)),
    ),
    Relation(
        "seat", "firm", "city", "own", "seat",
        ("The seat of {x} is in {y}.", "{x} has its seat in {y}, beside the canal."),
        Wording(
            ("In which city does {x} have its seat?", "Where is the seat of {x}?"),
            ("the city where {x} has its seat", "the seat of {x}"),
        ),
        Wording(("In what place is {x} based?",), ("the home of {x}",)),
    ),
    Relation(
        "started", "firm", "date", "own", "register",
        ("It stands in the register since {y}.", "The register has it from {y} on."),
        Wording(("Since when is {x} in the register?", "When was {x} registered?")),
        Wording(("On what date did {x} enter the register?",)),
    ),
    Relation(
        "architect", "bridge", "person", "other", "drawn",
        ("{x} was drawn at this desk.", "The plans of {x} were drawn in one summer."),
        Wording(
            ("Who drew the plans of {x}?", "Who is the architect of {x}?"),
            ("the architect of {x}", "the person who designed {x}"),
        ),
        Wording(("By whom was {x} designed?",), ("the designer of {x}",)),
    ),
    Relation(
        "place", "bridge", "city", "own", "crosses",
        ("{x} crosses the river in {y}.", "In {y} one crosses the river on {x}."),
        Wording(
            ("In which city is {x}?", "Which city has {x}?"),
            ("the city of {x}", "the city that has {x}"),
        ),
        Wording(("Where does {x} stand?",), ("the location of {x}",)),
    ),
    Relation(
        "opened", "bridge", "date", "own", "opened",
        ("It was opened on {y}.", "The mayor of those days opened it on {y}."),
        Wording(("When was {x} opened?", "On which day was {x} opened?")),
        Wording(("What is the opening date of {x}?",)),
    ),
    Relation(
        "novel", "person", "novel", "other", "novel by",
        (),
        Wording(
            ("What is the title of the novel that {x} wrote?", "Which novel did {x} write?"),
            ("the only novel of {x}", "the novel by {x}"),
        ),
        Wording(("What is the name of the book written by {x}?",), ("the book written by {x}",)),
    ),
    Relation(
        "bridge", "city", "bridge", "other", "crosses",
        (),
        Wording(
            ("Which bridge stands in {x}?", "What is the bridge in {x} called?"),
            ("the bridge in {x}", "the bridge that stands in {x}"),
        ),
        Wording(("What is the name of the bridge of {x}?",), ("the bridge of {x}",)),
    ),
)  # fmt: skip
"""Of `novel` and `bridge` the pages of `author` and `place` tell."""

FILLERS: Final = (
    "In {year} {person} spent a summer in {city}.",
    "{person} used to send a copy of {novel} to friends.",
    "An old photograph shows {person} at {bridge}.",
    "Before that, {person} held the same office for some years.",
    "{firm} once ordered forty lamps for {city}.",
    "A street in {city} bears the name of {person}.",
    "The archive keeps a letter of {year} to {person}.",
    "Critics have compared it with {novel}.",
)
"""Sentences that name others, and answer nothing."""

OPENINGS: Final = {
    "person": ("{x} kept a small garden.", "{x} was known for patience.", "{x} spoke little."),
    "city": ("{x} is a city with {number} inhabitants.", "{x}, a quiet city, lies on a hill."),
    "novel": ("Of {x} there are {number} copies.", "{x} has {number} pages, maps included."),
    "firm": ("{x} makes clocks and lamps.", "{x} employs {number} people."),
    "bridge": ("{x} is {number} metres long.", "{x} rests on {number} piles."),
}

FIRST_NAMES: Final = (
    "Ada", "Alma", "Anton", "Beda", "Boris", "Carla", "Cyril", "Dora", "Edvin", "Elsa", "Emil",
    "Fabian", "Frida", "Georg", "Greta", "Hanno", "Helga", "Igor", "Ilse", "Ines", "Jakob", "Jana",
    "Kaspar", "Klara", "Lars", "Lena", "Leo", "Lydia", "Magda", "Marek", "Mila", "Nadia", "Nils",
    "Olga", "Oskar", "Paula", "Petra", "Quirin", "Rosa", "Ruben", "Selma", "Stefan", "Tilda",
    "Tomas", "Ulla", "Viktor", "Wanda", "Xaver", "Yvo", "Zora",
)  # fmt: skip
SURNAMES: Final = (
    ("Al", "Bar", "Bren", "Cal", "Dorn", "Eck", "Fal", "Gar", "Hal", "Jor", "Kel", "Lan", "Mar",
     "Nor", "Os", "Pel", "Ros", "Sal", "Tor", "Vel", "Wes", "Zim"),
    ("bach", "berg", "brandt", "dahl", "feld", "gren", "hart", "holm", "kamp", "lund", "mann",
     "quist", "rup", "stad", "stein", "strom", "vik", "wald"),
)  # fmt: skip
CITIES: Final = (
    ("Am", "Bel", "Cor", "Dan", "Eri", "Fen", "Gol", "Hel", "Ist", "Kor", "Lim", "Mon", "Nar",
     "Or", "Par", "Quen", "Rav", "Sor", "Tam", "Ul", "Ver", "Wil", "Yar", "Zel"),
    ("bury", "cliff", "combe", "ford", "gate", "haven", "lake", "mere", "minster", "mouth", "ness",
     "port", "stow", "thorpe", "ton", "well", "wick", "worth"),
)  # fmt: skip
TITLES: Final = (
    ("Amber", "Ashen", "Borrowed", "Broken", "Burning", "Distant", "Empty", "Forgotten", "Frozen",
     "Gilded", "Hidden", "Hollow", "Last", "Narrow", "Pale", "Quiet", "Salt", "Second", "Silent",
     "Sleeping", "Stolen", "Twelfth", "Velvet", "Winter"),
    ("Bell", "Candle", "Corridor", "Daughter", "Ferry", "Garden", "Harbour", "Harvest", "Island",
     "Key", "Lantern", "Ledger", "Letter", "Mirror", "Orchard", "Passenger", "River", "Shore",
     "Staircase", "Summer", "Tower", "Violin", "Voyage", "Witness"),
)  # fmt: skip
FIRMS: Final = (
    ("Anchor", "Arrow", "Beacon", "Comet", "Compass", "Crown", "Eagle", "Falcon", "Heron", "Lion",
     "Meteor", "Northern", "Orion", "Phoenix", "Raven", "Southern", "Star", "Union"),
    ("Clockworks", "Forge", "Foundry", "Glassworks", "Instruments", "Lamps", "Mills", "Optics",
     "Press", "Shipyard", "Tools", "Works"),
)  # fmt: skip
BRIDGES: Final = (
    ("Copper", "Crane", "Dove", "Elm", "Granite", "Heather", "Iron", "Ivory", "Juniper", "Linden",
     "Maple", "Marble", "Oak", "Pearl", "Pilgrim", "Poplar", "Silver", "Swan", "Tanner", "Willow"),
    ("Arch", "Bridge", "Causeway", "Crossing", "Footbridge", "Span", "Viaduct", "Walk"),
)  # fmt: skip
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
