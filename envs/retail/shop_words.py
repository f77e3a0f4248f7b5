"""Names and words of the procedural shop. Those of the two splits have nothing in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

FIRST_NAMES: Final = {
    "train": (
        "Ada", "Bruno", "Celia", "Dario", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas",
        "Kaya", "Leon", "Mira", "Nils", "Olga", "Pablo", "Rosa", "Samir", "Tilda", "Viktor",
    ),
    "heldout": ("Agnes", "Boris", "Clara", "Dmitri", "Esther", "Fabio", "Gita", "Henrik", "Ilse"),
}  # fmt: skip
LAST_NAMES: Final = {
    "train": (
        "Abbott", "Becker", "Castillo", "Demir", "Eriksen", "Fontaine", "Gruber", "Haddad",
        "Ivanova", "Jansen", "Keller", "Larsen", "Moretti", "Novak", "Okafor", "Petrov",
    ),
    "heldout": ("Aguilar", "Bakker", "Conti", "Dvorak", "Engel", "Fischer", "Goto", "Holm"),
}  # fmt: skip
STREETS: Final = {
    "train": ("Alder Way", "Birch Lane", "Canal Street", "Dune Road", "Elder Court", "Fern Walk"),
    "heldout": ("Garden Mews", "Harbour Row", "Ivy Close", "Juniper Drive"),
}
CITIES: Final = {
    "train": (("Tulsa", "OK"), ("Fresno", "CA"), ("Omaha", "NE"), ("Mesa", "AZ"), ("Tampa", "FL")),
    "heldout": (("Boise", "ID"), ("Akron", "OH"), ("Salem", "OR"), ("Laredo", "TX")),
}
PRODUCTS: Final[Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]] = {
    "train": {
        "Teapot": {"colour": ("white", "green", "black"), "volume": ("small", "medium", "large")},
        "Desk Lamp": {"finish": ("brass", "chrome", "matt"), "light": ("warm", "neutral", "cold")},
        "Rucksack": {"colour": ("olive", "grey", "orange"), "closure": ("zip", "strap", "roll")},
        "Notebook": {"ruling": ("lined", "dotted", "blank"), "cover": ("soft", "linen", "leather")},
        "Scarf": {"fabric": ("wool", "silk", "cotton"), "pattern": ("plain", "striped", "checked")},
        "Headphones": {"fit": ("over-ear", "on-ear", "in-ear"), "link": ("cable", "radio", "dual")},
        "Cushion": {"shape": ("round", "square", "long"), "filling": ("foam", "down", "husk")},
        "Wall Clock": {"dial": ("roman", "arabic", "bare"), "rim": ("oak", "steel", "walnut")},
    },
    "heldout": {
        "Kettle": {"body": ("glass", "copper", "enamel"), "handle": ("bamboo", "nylon", "cork")},
        "Umbrella": {"canopy": ("navy", "yellow", "clear"), "opening": ("manual", "automatic")},
        "Keyboard": {"keys": ("quiet", "tactile", "clicky"), "size": ("full", "compact", "tiny")},
        "Blanket": {"yarn": ("fleece", "mohair", "hemp"), "edge": ("fringed", "hemmed", "bound")},
        "Vase": {"glaze": ("blue", "ochre", "rust"), "neck": ("narrow", "wide", "twin")},
        "Bicycle Bell": {"tone": ("bright", "deep"), "mount": ("strap-on", "clamped", "screwed")},
    },
}
PAYMENT_WORDS: Final = {"gift_card": "gift card", "credit_card": "credit card", "paypal": "PayPal"}
CARD_BRANDS: Final = ("visa", "mastercard")

OPENINGS: Final = ("Hello!", "Good morning.", "Hi there!", "Good evening.")

POLICY: Final = """\
You are the agent of a shop, and write with one customer. You can cancel or change orders that are
pending, take back or exchange items of orders that are delivered, change a customer's default
address, and tell customers about their own profile, their orders and the shop's products. What the
tools show is all you know: make nothing up.

1. Who is it? Before anything else, find the customer's user id: by email, or by first name, last
   name and zip code. Ask for what you need. Serve nobody but this customer.
2. Look things up. Orders, items and ways of payment have ids; find them in the user's, the order's
   and the product's details. Check an order's status before you promise anything.
3. Ask for a yes. Before you cancel, change, return or exchange, ask the customer for what you do
   not know yet. Then write what you are about to do, with everything that applies: the number of
   the order, the product, its new options, the new street, the way of payment, the reason. Change
   something only after the customer has said yes to just that. If they want something else now,
   write it again.
4. In a turn, either call one tool or write to the customer.
5. Say no where the rules say no.

Rules:
- Cancel: only an order whose status is 'pending', because it is 'no longer needed' or was 'ordered
  by mistake'. A gift card has its refund at once, others in 5 to 7 business days.
- Change: only an order that is pending, and of it the address, the way of payment, or the options
  of items. Items are changed once, all together, each for an available variant of its product.
- Pay in another way: a single way, another than before. A gift card must cover the whole sum.
- Return: only from a delivered order. The refund goes to a gift card or to what paid the order.
- Exchange: only from a delivered order, once, all items together, each for an available variant of
  its product. A way of payment pays the difference in price or gets it back.
- An order that is processed is on its way: nothing of it can be changed.
- Hand over to a human agent only what neither these rules nor your tools can settle."""
