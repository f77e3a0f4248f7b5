"""Many wordings of short word problems, and others that are told only where tasks are held out.

Why you would want them: a language model that is trained on a dozen stories learns these stories.
With dozens of each operation there is something to learn that holds for a story it has never read.
The kinds are those of the primary-school sets (Riley, Greeno and Heller 1983, for sums and
differences; Greer 1992, for products and quotients): change, combine, compare; equal groups, rates,
arrays, "times as many", sharing, measuring.

A line is a wording: what is computed, and the text. Numbers are drawn by the operation, such that
differences are more than nothing and divisions come out even. Two operations are told in full.
"""

from __future__ import annotations

from collections.abc import Mapping

from qwq_env.envs.word_problems import Range, Step, Wording, read_wordings

_NUMBERS: Mapping[str, tuple[Mapping[str, Range], tuple[Step, ...]]] = {
    "+": ({"a": Range(3, 899), "b": Range(3, 899)}, ()),
    "-": ({"b": Range(3, 499), "rest": Range(3, 499)}, (Step("a", "rest", "+", "b"),)),
    "*": ({"a": Range(3, 299), "b": Range(3, 79)}, ()),
    "/": ({"b": Range(3, 49), "each": Range(3, 199)}, (Step("a", "each", "*", "b"),)),
}
"""By operator: what is drawn, and what follows from it."""


def _one_operation(table: str) -> tuple[Wording, ...]:
    """Read a table of lines such as `a + b | the text`; indented lines go on with the text."""
    lines = table.strip().replace("\n    ", " ").split("\n")
    return tuple(_wording(*line.split(" | ")) for line in lines)


def _wording(formula: str, text: str) -> Wording:
    left, sign, right = formula.split()
    numbers, derived = _NUMBERS[sign]
    if sign in "+*" and text.index(f"{{{right}}}") < text.index(f"{{{left}}}"):
        # As it is read, so that an order says something only where it matters.
        left, right = right, left
    return Wording(text, numbers, (Step("answer", left, sign, right),), derived)


SEEN = _one_operation("""
a + b | {name} has {a} {things} and finds {b} more. How many {things} does {name} have now?
a + b | There are {a} red {things} and {b} blue {things} in a box. How many {things} are in the box?
a + b | {name} collected {a} {things} and {other} collected {b}. How many did they collect together?
a + b | A farmer has {a} sheep and buys {b} more at the market. How many sheep are there then?
a + b | {name} read {a} pages on Monday and {b} pages on Tuesday. How many pages did {name} read in
    all?
a + b | A truck carries {a} kilograms of sand. Another {b} kilograms are loaded. What does the load
    weigh now?
a + b | {name} is {a} centimeters tall. {other} is {b} centimeters taller. How tall is {other}?
a + b | After selling {b} {things}, {name} still has {a}. How many {things} were there at first?
a + b | The school ordered {a} chairs last year and {b} chairs this year. What is the total number
    of chairs ordered?
a + b | {name} spent {a} dollars on shoes and {b} dollars on a coat. How much money did {name}
    spend?
a + b | There were {a} people at the concert when {b} late guests came in. How many people were at
    the concert then?
a + b | {name} drove {a} miles before lunch and {b} miles after it. How far did {name} drive
    altogether?
a + b | {other} has {b} more {things} than {name}, who has {a}. How many {things} does {other} have?
a + b | A hen house gave {a} eggs in May. In June it gave {b} eggs more than in May. How many eggs
    did it give in June?
a + b | {name} gave {b} {things} to {other} and kept {a} of them. How many {things} did {name} have
    before?
a + b | A jug holds {a} milliliters and a bottle {b}. How much do they hold together?
a + b | {name} scored {a} points in the first game and {b} in the second. What is the total score?
a + b | A shirt costs {a} dollars. A jacket costs {b} dollars more. What does the jacket cost?
a + b | {name} took {b} {things} out of a drawer, and {a} stayed in it. How many were in it before?
a + b | A library owned {a} books and was given {b}. How many books does it own now?
a - b | {name} had {a} {things} and gave {b} of them to {other}. How many {things} are left?
a - b | There are {a} children in the school, and {b} of them are girls. How many are boys?
a - b | {name} has {a} {things}. {other} has {b} {things}. How many more {things} does {name} have
    than {other}?
a - b | A baker made {a} rolls and sold {b} of them. How many rolls were not sold?
a - b | {name} baked {b} of the {a} cakes for the fair. How many cakes did the others bake?
a - b | A tank held {a} liters of water, but {b} liters leaked out. How much water is still in it?
a - b | {name} needs {a} points to win and already has {b}. How many more points does {name} need?
a - b | A book has {a} pages. {name} has already read {b}. How many pages remain?
a - b | {other} has {b} fewer {things} than {name}. If {name} has {a}, how many does {other} have?
a - b | Now there are {a} {things} in the jar. Yesterday there were {b}. How many were added?
a - b | {name} wants to save {a} dollars and has saved {b} dollars. How much is missing?
a - b | Of {a} light bulbs in the hall, {b} are broken. How many work?
a - b | {name} jumped {a} centimeters and {other} jumped {b} centimeters. How much farther did
    {name} jump?
a - b | A parking lot has room for {a} cars, and {b} cars are parked there. How many places are
    free?
a - b | {name} found {a} shells but lost some on the way, and {b} remained. How many were lost?
a - b | A road is {a} meters long. Workers have paved {b} meters. What length is not paved yet?
a - b | A cook had {a} grams of sugar and used {b}. How much sugar is left?
a - b | {a} guests were invited, but {b} did not come. How many came?
a - b | The red rope measures {a} centimeters, the blue one {b}. By how much is the red rope longer?
a - b | {name} pays a bill of {b} dollars with {a} dollars. How much change does {name} get?
a * b | {name} packs {a} boxes with {b} {things} in each. How many {things} is that in all?
a * b | A machine makes {a} {things} an hour. How many does it make in {b} hours?
a * b | There are {b} rows of chairs with {a} chairs in each row. How many chairs are there?
a * b | One ticket costs {a} dollars. How much do {b} tickets cost?
a * b | {name} runs {a} meters every day. How many meters does {name} run in {b} days?
a * b | {other} has {b} times as many {things} as {name}, who has {a}. How many does {other} have?
a * b | Each of the {b} shelves in the shop holds {a} {things}. How many {things} do they all hold?
a * b | A car goes {a} kilometers with each tank of fuel. How far does it go with {b} tanks?
a * b | {name} earns {a} dollars a week. How much does {name} earn in {b} weeks?
a * b | Every one of {b} pupils brings {a} {things} to school. How many {things} are brought?
a * b | A garden has {b} beds, and {a} tulips grow in every bed. How many tulips grow in it?
a * b | A rope is {a} times as long as a stick. If the stick measures {b} centimeters, how long is
    the rope?
a * b | {name} buys {b} bags of flour at {a} cents apiece. What is the price in cents?
a * b | A page has {b} lines of {a} letters. How many letters does it have?
a * b | There are {a} seats on a bus. How many people can ride on {b} such buses?
a * b | A theater has {b} balconies with {a} seats each. How many seats is that?
a * b | {b} friends pay {a} dollars each. How much do they pay together?
a * b | A curtain takes {a} centimeters of cloth. How much cloth do {b} curtains take?
a * b | There are {a} {things} in a pack. {name} buys {b} packs. How many {things} does {name} buy?
a * b | A bee visits {a} flowers on each flight. How many flowers does it visit on {b} flights?
a / b | {name} shares {a} {things} equally among {b} friends. How many does each friend get?
a / b | {a} {things} are put into {b} bags with the same number in each. How many are in one bag?
a / b | {name} has {a} {things} and puts {b} of them into every box. How many boxes are needed?
a / b | A ribbon of {a} centimeters is cut into {b} equal pieces. How long is one piece?
a / b | {b} identical books cost {a} dollars together. How much does one book cost?
a / b | {name} typed {a} words in {b} minutes. How many words is that per minute?
a / b | The {a} players of a club form teams of {b}. How many teams are there?
a / b | {a} chairs stand in {b} equal rows. How many chairs are in each row?
a / b | {name} has {b} times as many {things} as {other}. If {name} has {a}, how many does {other}
    have?
a / b | {name} reads {b} pages a day. How many days does a book of {a} pages take?
a / b | A prize of {a} dollars is divided evenly between {b} winners. What does each of them get?
a / b | A bus holds {b} people. How many buses do {a} people need?
a / b | A farmer fills {b} baskets equally with {a} apples. How many apples go into a basket?
a / b | It takes {b} {things} to make a toy. How many toys can {name} make from {a} {things}?
a / b | A pump moves {a} liters in {b} hours. How many liters does it move in an hour?
a / b | One stamp costs {b} cents. How many stamps can {name} buy for {a} cents?
a / b | A tile is {b} centimeters wide. How many tiles make a row of {a} centimeters?
a / b | A bucket holds {b} liters. How many buckets of water fill a tub of {a} liters?
a / b | {b} workers earn {a} dollars for a job and take equal parts. How much is one part?
a / b | A shelf has room for {b} jars. How many shelves do {a} jars fill?
a / b | {other} saved {a} dollars, which is {b} times what {name} saved. How much did {name} save?
a / b | {name} folds {a} shirts into {b} equal piles. How many shirts are in a pile?
a / b | {b} clerks copy {a} letters, each clerk as many as the others. How many letters does a clerk
    copy?
a / b | {b} stones of the same kind weigh {a} grams. What is the weight of one stone?
a / b | The hikers cover {b} kilometers a day. How many days does a trail of {a} kilometers take?
a / b | A box of {a} pencils is handed out in a class of {b}, the same number to everyone. How many
    pencils is that for one pupil?
a / b | A wall of {a} bricks has {b} bricks in every layer. How many layers does it have?
a / b | {name} cuts pieces of {b} centimeters from a board of {a} centimeters. How many pieces are
    there?
a / b | A choir of {a} singers stands in {b} rows of the same length. How many singers are in a row?
a / b | The rent for {b} months is {a} dollars. What is the rent for one month?
""")
"""One operation each: twenty of each operator, and thirty of division, where there is also to learn
which number is divided by which."""

UNSEEN = _one_operation("""
a + b | At dawn {a} birds sit in the old oak, and until noon {b} others join them. How many birds
    are there at noon?
a + b | The north wing of the museum shows {a} paintings, the south wing {b}. How many paintings
    does the museum show?
a + b | {name} already owned {a} coins when an aunt sent {b} coins. How big is the collection now?
a + b | A shop sold {a} umbrellas in spring and {b} in autumn. How many umbrellas were sold in both
    seasons?
a + b | The tower was {a} feet high before {b} feet were built on top of it. How high is it now?
a - b | A train leaves with {a} passengers, and {b} of them get off at the first stop. How many stay
    on board?
a - b | {name} printed {a} leaflets and handed out {b} in the street. How many leaflets does {name}
    have left?
a - b | Of the {a} votes in an election {b} were for {name}. How many were for somebody else?
a - b | This winter {a} inches of snow fell, last winter {b} inches. How many more inches fell this
    winter?
a - b | A hotel has {a} rooms, of which {b} are taken. How many rooms can still be booked?
a * b | In an orchard stand {b} trees, and each tree bears {a} pears. How many pears are there in
    all?
a * b | A printer prints {a} pages per minute. How many pages come out in {b} minutes?
a * b | {name} swims {b} lanes of {a} meters. How many meters does {name} swim?
a * b | A crate holds {a} bottles of juice. How many bottles are in {b} crates?
a * b | A phone call costs {a} cents a minute. What does a call of {b} minutes cost in cents?
a / b | {name} pours {a} grams of flour evenly into {b} bowls. How many grams does one bowl hold?
a / b | The {a} soldiers march in ranks of {b}. How many ranks are there?
a / b | A gardener plants {a} bulbs in {b} beds, the same number in every bed. How many bulbs are in
    a bed?
a / b | The {b} cousins split {a} nuts fairly. How many nuts does each cousin receive?
a / b | {name} needs {b} minutes for a lap. How many laps can {name} run in {a} minutes?
""")
"""Stories that training does not tell, five of each operator."""

SEEN_TWO = read_wordings("""
{name} fills {a} boxes with {b} {things} each and has {c} {things} left over. How many {things}
does {name} have in all?
    draw a in 3..40, b in 3..40, c in 3..400
    solve packed = a * b, all = packed + c

{name} had {a} {things}, lost {b} of them, and then found {c}. How many {things} does {name} have
now?
    draw a in 500..999, b in 3..499, c in 3..499
    solve rest = a - b, all = rest + c

{name} buys {a} pens for {b} cents each and pays with {c} cents. How many cents does {name} get
back?
    draw a in 3..20, b in 3..40, c in 800..999
    solve cost = a * b, change = c - cost

{name} picks {a} {things} and {other} picks {b}. They share them equally among {c} friends. How many
{things} does each friend get?
    draw each in 30..99, c in 3..20, a in 3..89
    where total = each * c, b = total - a
    solve all = a + b, share = all / c

A shop has {a} red and {b} green {things} and sells {c} of them. How many {things} are left?
    draw a in 100..499, b in 100..499, c in 3..199
    solve all = a + b, rest = all - c

{name} walks {a} meters to school and {b} meters back by another way. How many meters is that in {c}
days?
    draw a in 100..999, b in 100..999, c in 3..40
    solve day = a + b, all = day * c
""")
"""Two operations each."""

UNSEEN_TWO = read_wordings("""
A ferry crosses {a} times with {b} cars, and once more with {c} cars. How many cars did it carry?
    draw a in 3..40, b in 3..40, c in 3..400
    solve cars = a * b, all = cars + c

Of {a} seedlings {name} loses {b} to the frost and plants {c} new ones. How many seedlings are there
in the end?
    draw a in 500..999, b in 3..499, c in 3..499
    solve rest = a - b, all = rest + c

{name} and {other} type {a} and {b} lines and lay them out on {c} pages with as many lines each. How
many lines are on a page?
    draw each in 30..99, c in 3..20, a in 3..89
    where total = each * c, b = total - a
    solve all = a + b, page = all / c

A bus starts with {a} people. At the first stop {b} get on, at the second {c} get off. How many are
in it then?
    draw a in 100..499, b in 100..499, c in 3..199
    solve all = a + b, rest = all - c
""")
"""Stories of two operations that training does not tell."""

STORY_LEVELS = (SEEN, SEEN_TWO, SEEN + SEEN_TWO)
HELD_OUT_STORY_LEVELS = (UNSEEN, UNSEEN_TWO, UNSEEN + UNSEEN_TWO)
