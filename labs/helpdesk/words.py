"""Every word of the help desk's language.

The vocabulary is closed: the tokenizer, the corpus, the tasks and the judge all draw on the lists
below, so a word that is not here cannot appear anywhere in the world.
"""

COLOURS = ("blue", "red", "black", "white", "green", "silver")
PRODUCTS = ("laptop", "phone", "monitor", "printer", "camera", "router", "tablet", "speaker")
CITIES = (
    "rome",
    "paris",
    "berlin",
    "madrid",
    "oslo",
    "vienna",
    "lisbon",
    "dublin",
    "athens",
    "prague",
)
PROBLEMS = ("hot", "slow", "loud", "dead", "broken", "frozen", "dark", "wet")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# What a good reply tells the customer to do about each problem.
FIXES = dict(
    zip(PROBLEMS, ("cool", "restart", "mute", "charge", "replace", "reset", "brighten", "dry"))
)

# The departments' own names for the problems and their codes for anything else.
JARGON = dict(
    zip(PROBLEMS, ("thermal", "lag", "noise", "power", "damage", "hang", "display", "fluid"))
)
CODES = tuple(f"c{i}" for i in range(24))
SHADES = dict(zip(COLOURS, ("azure", "crimson", "ebony", "ivory", "emerald", "chrome")))

CLERKS = (
    "mia",
    "omar",
    "lena",
    "ravi",
    "noor",
    "ivan",
    "sara",
    "hugo",
    "emma",
    "kofi",
    "yuki",
    "paul",
)
DIGITS = tuple("0123456789")

PUNCTUATION = (".", ",", "?", ":", "|", "+", "-", "=", ";", "!")
MARKERS = (
    "ticket",
    "fields",
    "note",
    "which",
    "customer",
    "agent",
    "list",
    "code",
    "desk",
    "clerk",
    "price",
    "sum",
    "sort",
    "total",
    "product",
    "city",
    "problem",
    "day",
    "colour",
)
GRAMMAR = tuple(
    """a after am and at bought do for from has have hello help here how i in is it live me message
    my need new nice no not now of old on one out please sent should since so that the there this to
    today up was we when will with you your""".split()
)
SERVICE = tuple(
    """again arrive can case check friend frustrating glad hear in manual open patience plugged read
    right send sorry soon thank thanks trouble understand very welcome what wrong yes""".split()
)

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"


def vocabulary() -> list[str]:
    """All tokens in the order of their ids, the three special ones first."""
    groups = (
        COLOURS,
        PRODUCTS,
        CITIES,
        PROBLEMS,
        DAYS,
        FIXES.values(),
        JARGON.values(),
        CODES,
        SHADES.values(),
        CLERKS,
        DIGITS,
        PUNCTUATION,
        MARKERS,
        GRAMMAR,
        SERVICE,
    )
    return list(dict.fromkeys([PAD, EOS, UNK, *(word for group in groups for word in group)]))
