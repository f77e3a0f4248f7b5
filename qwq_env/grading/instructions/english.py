"""Our own knowledge of English words for `sentences`: enough for prose, and always installed.

Written by hand, and weighed against how the published English model judges the same words: that
model learned from financial news, so `e.g.` and `etc.` are no abbreviations to it, and a common
word (`Let`, `Time`) that stands in headlines is no sign of a new sentence after `Corp.` or `...`.
It differs from the model where only counting a corpus helps: rare words in those two places.
"""

from qwq_env.grading.instructions.sentences import LOWER, LOWER_FIRST, UPPER_INSIDE, Knowledge

__all__ = ["BUILT_IN"]

_ABBREVIATIONS = """
    a.d a.m adm ala ariz aug ave bros c calif co col colo conn corp cos ct d d.c dec dr e f feb
    fla fri ft g ga gen h ill inc j.k j.p j.r jan jr k kan ky l l.a lt ltd m m.b.a maj messrs mich
    minn mr mrs ms n n.c n.d n.h n.j n.m n.v n.y nev nov oct okla ore p p.m pa ph.d prof r r.i rep
    reps s s.a s.c sen sep sept sr st t tenn tues u.k u.n u.s u.s.a u.s.s.r v va vs vt w w.va wash
    wed wis yr
"""

_STARTERS = """
    according although among both but despite even he however i if in indeed instead it many
    meanwhile moreover most nevertheless nonetheless nor separately similarly since so some the
    there these they this though thus under when while yet
"""

_ALWAYS_LOWER = """
    above ahead allow almost along already always amount animal anyone anyway appear argue ask
    assume become begin behind believe besides better between beyond birds blood body boy bread
    break brother build call cannot carry cause check choose compare consider consult contact
    course dark daughter decide deep describe different difficult discover does dogs done door
    doubt draw drink either else encourage enjoy enough ensure enter ever everywhere evidence
    examine example except excuse experience explain explore eyes fact fear fill finish fish
    flowers follow forget friend furthermore gather girl given grab guess hair hands happen happy
    hear heavy hence her here hide hold hot hours houses huge humans hundreds hurry imagine
    important include inside into invest kids knowledge laugh learn likewise listen lives mean
    mind mine mix months mother nature nearby neither numbers okay onto ordinary otherwise
    ourselves overall pain participants pass perfect pick pieces play please plenty practice
    prepare present problems provide pull put rain realize recommend refer regardless relax
    remember remove replace right roll safe same seems seldom select send serve seven shut silence
    simple sit smile snow someone sometimes son soon sorry speak spend stand stick still strange
    stress such suggest suppose surprise swim teach ten thank thanks them themselves therefore
    things think thinks through throughout tie together tomorrow towards trees try turn understand
    unless unlike upon us very wait walk wear welcome went were whenever whether which whichever
    whole winds wipe wise within without words yes yesterday your yourself
"""

_ALSO_IN_TITLES = """
    a about across act add after again against ago agree all alone also an and another answer any
    apart are area around as at avoid away baby back bad be beautiful because been before below
    best big books born bottom bring building business buy by can care case cats certain change
    child children class clear clearly close come continue control could count cover cross cry
    customers cut death defend did dinner do doctors down dream drive due during each earth easy
    eat end every everybody everyone everything expect face fall family far fast father feel few
    fields find fine fire first five focus food for four free fresh friends from full fun future
    generally get give go gone good great green grow had half hand hard hardly has have having
    head heart heat help hey hidden high hills his home hope how human increase introduce is its
    join jump just keep kind knowing large last later lead leave less let life light like limit
    little live long look lots love low main make making maybe me measure men might money mostly
    move much music must my name near nearly never next nice night nine no nobody none not notice
    now obviously of off offer often old on once one only open or order other others our out
    outside over own parents part past pay people perhaps place plants plus point push quick
    quickly quiet quite rather read reading ready really recall reduce research rest return ride
    rise run running save say saying scientists search second see seek sell set several share she
    should show side six sleep small something somewhere sound special stars start stay steps stop
    store strong students studies study sun support sure take talk tears tell than that their then
    third those thousands three time to today too top toward trust two understanding until up use
    users usually visit wake want was watch water we well what whatever where who whose why will
    with women wonder work worry would write wrong you young
"""

_LOWER_INSIDE = LOWER & ~LOWER_FIRST

BUILT_IN = Knowledge(
    abbreviations=frozenset(_ABBREVIATIONS.split()),
    starters=frozenset(_STARTERS.split()),
    collocations=frozenset(),
    seen={
        **dict.fromkeys(_ALWAYS_LOWER.split(), _LOWER_INSIDE),
        **dict.fromkeys(_ALSO_IN_TITLES.split(), _LOWER_INSIDE | UPPER_INSIDE),
        **dict.fromkeys(_STARTERS.split(), _LOWER_INSIDE | UPPER_INSIDE),
        "i": UPPER_INSIDE,
    },
    endings=(
        "able",
        "ate",
        "ed",
        "ful",
        "ing",
        "ity",
        "ive",
        "ly",
        "ment",
        "ness",
        "ous",
        "tion",
    ),
)
"""What `split_sentences` is told unless one names something better."""
