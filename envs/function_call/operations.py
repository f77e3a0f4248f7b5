"""What the functions of the procedural tasks do: their parameters, and how one asks for them.

A request is a wording with its values filled in; wordings of training and held-out tasks differ.
What is `optional` is asked for by an ending of its own, or not at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_CITIES: Final = (
    "Lisbon", "Oslo", "Kyoto", "Quito", "Nairobi", "Gdansk", "Hanoi", "Porto", "Tallinn", "Cusco",
    "New Orleans", "Buenos Aires", "Cape Town", "San Sebastian", "Ulan Bator", "Santa Fe",
)  # fmt: skip
_PEOPLE: Final = (
    "Ada", "Bruno", "Chiara", "Dmitri", "Esra", "Farid", "Greta", "Hiro", "Ines", "Jakob", "Kofi",
    "Lena", "Mateo", "Nadia", "Otto", "Priya",
)  # fmt: skip
_ROOMS: Final = ("kitchen", "bedroom", "study", "attic", "cellar", "hall", "garage", "nursery")
_GOODS: Final = (
    "desk lamp", "tent", "kettle", "rain coat", "violin", "sleeping bag", "toaster", "globe",
    "bookshelf", "hammock", "telescope", "chess set",
)  # fmt: skip
_TITLES: Final = (
    "budget review", "choir practice", "dentist", "book club", "moving day", "chess night",
    "garden tour", "parents' evening", "kick-off", "yoga class",
)  # fmt: skip
_DISHES: Final = ("lentil soup", "lasagne", "paella", "apple pie", "ramen", "goulash", "risotto")
_CURRENCIES: Final = ("EUR", "USD", "JPY", "CHF", "NOK", "BRL", "INR", "KES")
_COLOURS: Final = ("red", "green", "blue", "amber", "violet")
_NOTES: Final = (
    "the key is under the mat", "running ten minutes late", "bring the blue folder",
    "dinner is in the oven", "the meeting was moved", "please water the plants",
)  # fmt: skip


class Value(NamedTuple):
    """An argument: what a call has to give, and how a request says it."""

    argument: Any
    said: str


Draw = Callable[[random.Random, int], Value]
"""Draws a value for a difficulty."""


def _one_of(*values: str) -> Draw:
    return lambda chance, difficulty: Value(value := chance.choice(values), value)


def _whole(low: int, high: int) -> Draw:
    return lambda chance, difficulty: Value(number := chance.randint(low, high), str(number))


def _decimal(low: int, high: int) -> Draw:
    return lambda chance, difficulty: Value(
        number := chance.randint(low * 4, high * 4) / 4, f"{number:g}"
    )


def _date(chance: random.Random, difficulty: int) -> Value:
    year, month, day = chance.randint(2025, 2031), chance.randint(1, 12), chance.randint(1, 28)
    written = f"{year}-{month:02}-{day:02}"
    return Value(written, written if difficulty == 1 else f"{day} {_MONTHS[month - 1]} {year}")


def _time(chance: random.Random, difficulty: int) -> Value:
    hour, minute = chance.randint(1, 11), chance.choice((0, 15, 30, 45))
    if difficulty == 1:
        return Value(f"{hour + 12}:{minute:02}", f"{hour + 12}:{minute:02}")
    return Value(f"{hour + 12}:{minute:02}", f"{hour}:{minute:02} pm")


def _people(chance: random.Random, difficulty: int) -> Value:
    names = chance.sample(_PEOPLE, chance.randint(2, 4))
    return Value(names, f"{', '.join(names[:-1])} and {names[-1]}")


def _parcel(chance: random.Random, difficulty: int) -> Value:
    number = f"{chance.choice('BDKRT')}{chance.randint(10**6, 10**7 - 1)}"
    return Value(number, number)


class Parameter(NamedTuple):
    """A parameter: names that a library may give it, its type in BFCL's words, and its values."""

    names: tuple[str, ...]
    kind: str
    told: str
    draw: Draw
    choices: tuple[str, ...] = ()
    default: Any = None


class Operation(NamedTuple):
    """What a function does. `wordings` name the required parameters, `endings` an optional one.

    Both are for training and for held-out tasks.
    """

    domain: str
    verb: str
    noun: str
    told: str
    required: Mapping[str, Parameter]
    wordings: tuple[tuple[str, ...], tuple[str, ...]]
    optional: Mapping[str, Parameter] = {}
    endings: tuple[str, str] = ("", "")


_CITY: Final = Parameter(("city", "location", "place"), "string", "A city.", _one_of(*_CITIES))
_DAY: Final = Parameter(("date", "day"), "string", "The date, written YYYY-MM-DD.", _date)
_CLOCK: Final = Parameter(("time", "start"), "string", "The time of day, as 24-hour HH:MM.", _time)
_ROOM: Final = Parameter(("room", "zone"), "string", "A room of the house.", _one_of(*_ROOMS))
_PERSON: Final = Parameter(
    ("recipient", "to", "person"), "string", "Who it is for.", _one_of(*_PEOPLE)
)
_GOOD: Final = Parameter(("product", "article"), "string", "What is wanted.", _one_of(*_GOODS))
_TITLE: Final = Parameter(("title", "event"), "string", "What it is called.", _one_of(*_TITLES))


def _currency(*names: str) -> Parameter:
    return Parameter(names, "string", "A currency, by its three letters.", _one_of(*_CURRENCIES))


def _chosen(names: tuple[str, ...], told: str, choices: tuple[str, ...], default: str) -> Parameter:
    others = tuple(each for each in choices if each != default)
    return Parameter(names, "string", told, _one_of(*others), choices, default)


OPERATIONS: Final = (
    Operation(
        "weather", "get", "forecast", "Forecast the weather of a city for some days.",
        {"city": _CITY, "days": Parameter(("days", "count"), "integer", "For how many days.",
                                          _whole(2, 9))},
        (("What will the weather be like in {city} over the next {days} days?",
          "Give me the {days}-day forecast for {city}."),
         ("I want to know how the weather turns out in {city}, {days} days ahead.",)),
        {"unit": _chosen(("unit", "scale"), "Of temperatures.", ("celsius", "fahrenheit"),
                         "celsius")},
        ("Show degrees in {unit}.", "Temperatures should be in {unit}."),
    ),
    Operation(
        "weather", "get", "sunrise", "Tell when the sun rises in a city on a day.",
        {"city": _CITY, "date": _DAY},
        (("When does the sun rise in {city} on {date}?", "Sunrise in {city} on {date}, please."),
         ("On {date} I am in {city}: at what time does the sun come up there?",)),
    ),
    Operation(
        "travel", "find", "trains", "Find trains between two cities on a day.",
        {"origin": _CITY._replace(names=("origin", "from_city", "departure")),
         "target": _CITY._replace(names=("destination", "to_city", "arrival")), "date": _DAY},
        (("Find trains from {origin} to {target} on {date}.",
          "Which trains run on {date} from {origin} to {target}?"),
         ("I have to be in {target} on {date} and start in {origin}; look up the trains.",)),
        {"class": _chosen(("travel_class", "category"), "Of the seats.", ("first", "second"),
                          "second")},
        ("I travel {class} class.", "Only {class} class, please."),
    ),
    Operation(
        "travel", "book", "hotel", "Book a hotel room in a city.",
        {"city": _CITY, "date": _DAY._replace(names=("check_in", "arrival_date")),
         "nights": Parameter(("nights", "stay"), "integer", "For how many nights.", _whole(1, 12))},
        (("Book a hotel in {city} from {date} for {nights} nights.",
          "I need a room in {city}, {nights} nights, arriving {date}."),
         ("We arrive in {city} on {date} and stay {nights} nights; get us a hotel.",)),
    ),
    Operation(
        "money", "convert", "currency", "Convert an amount of money to another currency.",
        {"amount": Parameter(("amount", "sum"), "float", "How much.", _decimal(5, 900)),
         "source": _currency("source", "from_currency"),
         "target": _currency("target", "to_currency")},
        (("How much is {amount} {source} in {target}?", "Convert {amount} {source} to {target}."),
         ("I have {amount} {source}; what would that be in {target}?",)),
    ),
    Operation(
        "money", "split", "bill", "Split a bill evenly.",
        {"amount": Parameter(("total", "amount"), "float", "The whole bill.", _decimal(20, 400)),
         "people": Parameter(("people", "guests"), "integer", "Among how many.", _whole(2, 11))},
        (("Split a bill of {amount} among {people} people.",
          "{people} of us share a bill of {amount}; what does each pay?"),
         ("The bill came to {amount}, and we were {people}. What is everyone's share?",)),
        {"tip": Parameter(("tip", "tip_percent"), "integer", "Percent on top.", _whole(5, 25),
                          (), 0)},
        ("Add a tip of {tip} percent.", "With {tip} percent tip on top."),
    ),
    Operation(
        "home", "set", "temperature", "Set the heating of a room.",
        {"room": _ROOM,
         "degrees": Parameter(("degrees", "target"), "float", "In Celsius.", _decimal(15, 24))},
        (("Heat the {room} to {degrees} degrees.", "Set the {room} to {degrees} degrees."),
         ("I would like {degrees} degrees in the {room}.",)),
    ),
    Operation(
        "home", "set", "light", "Set how bright the light of a room is.",
        {"room": _ROOM,
         "level": Parameter(("brightness", "level"), "integer", "From 0 to 100.", _whole(1, 100))},
        (("Set the light in the {room} to {level} percent.",
          "Make the {room} light {level} percent bright."),
         ("In the {room} I want the lamps at {level} percent.",)),
        {"colour": _chosen(("color", "tint"), "Of the light.", ("white", *_COLOURS), "white")},
        ("Make it {colour}.", "It should be {colour}."),
    ),
    Operation(
        "kitchen", "scale", "recipe", "Work out the ingredients of a dish.",
        {"dish": Parameter(("dish", "recipe"), "string", "The dish.", _one_of(*_DISHES)),
         "servings": Parameter(("servings", "portions"), "integer", "How many eat.",
                               _whole(2, 30))},
        (("What do I need to cook {dish} for {servings}?",
          "Scale the recipe for {dish} to {servings} servings."),
         ("{servings} guests are coming for {dish}; which ingredients does that take?",)),
    ),
    Operation(
        "kitchen", "start", "timer", "Start a timer that rings.",
        {"minutes": Parameter(("minutes", "duration"), "integer", "In minutes.", _whole(2, 90)),
         "dish": Parameter(("label", "name"), "string", "What it is for.", _one_of(*_DISHES))},
        (("Start a timer of {minutes} minutes for the {dish}.",
          "The {dish} takes {minutes} minutes; set a timer for it."),
         ("Remind me in {minutes} minutes of the {dish}, with a timer.",)),
    ),
    Operation(
        "calendar", "add", "event", "Put an event into the calendar.",
        {"title": _TITLE, "date": _DAY, "time": _CLOCK},
        (("Put {title} into my calendar on {date} at {time}.",
          "Add an event: {title}, {date}, {time}."),
         ("Note down {title} for me; it is on {date}, at {time}.",)),
        {"hours": Parameter(("hours", "length"), "integer", "How long.", _whole(2, 6), (), 1)},
        ("It takes {hours} hours.", "Reserve {hours} hours for it."),
    ),
    Operation(
        "calendar", "invite", "guests", "Invite people to an event.",
        {"title": _TITLE, "people": Parameter(("guests", "people"), "array", "Their names.",
                                              _people)},
        (("Invite {people} to {title}.", "Ask {people} to come to {title}."),
         ("{people} should be there for {title}; invite them.",)),
    ),
    Operation(
        "shop", "order", "product", "Order a product.",
        {"product": _GOOD, "count": Parameter(("quantity", "count"), "integer", "How many.",
                                              _whole(1, 12))},
        (("Order {count} of this: {product}.", "Buy the {product}, {count} times."),
         ("We are out of this: {product}. Get {count} of them.",)),
        {"express": Parameter(("express", "fast"), "boolean", "Whether it is sent by express.",
                              lambda chance, difficulty: Value(True, "express"), (), False)},
        ("Send it by {express}.", "It has to come by {express}."),
    ),
    Operation(
        "shop", "track", "parcel", "Tell where a parcel is.",
        {"number": Parameter(("number", "tracking_id"), "string", "The parcel's number.", _parcel),
         "city": _CITY._replace(told="The city where it was sent off.")},
        (("Where is parcel {number}, sent from {city}?",
          "Track {number}; it was sent off in {city}."),
         ("From {city} they sent me parcel {number}. How far is it?",)),
    ),
    Operation(
        "mail", "send", "note", "Send a short note to somebody.",
        {"person": _PERSON,
         "text": Parameter(("text", "message"), "string", "What it says.", _one_of(*_NOTES))},
        (('Tell {person}: "{text}".', 'Send {person} a note that says "{text}".'),
         ('{person} has to know this: "{text}". Write a note.',)),
    ),
    Operation(
        "mail", "forward", "letter", "Forward a letter to somebody.",
        {"title": _TITLE._replace(names=("subject", "about"), told="What the letter is about."),
         "person": _PERSON},
        (("Forward the letter about {title} to {person}.",
          "{person} should get the letter about {title}; forward it."),
         ("There is a letter about {title}. Pass it on to {person}.",)),
    ),
)  # fmt: skip
"""Two of each domain, of which one may stand beside the other and not be what is asked for."""
