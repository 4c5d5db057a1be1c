"""How customers write: sentences for every fact, in three groups that share none.

train   what a model is tuned on
test    other sentences, other names, the same products
far     other sentences again, by people who write otherwise, and products that training never saw

A sentence with {product}, {order} or {name} says that fact; the others say theirs by their wording.
"""

GROUPS = ("train", "test", "far")

PRODUCTS = {
    "train": (
        "blender", "kettle", "lamp", "printer", "router", "toaster", "speaker", "monitor",
        "keyboard", "vacuum cleaner",
    ),
    "far": (
        "rice cooker", "treadmill", "baby monitor", "garden hose", "electric toothbrush",
        "sewing machine", "tent", "dash cam",
    ),
}  # fmt: skip
PRODUCTS["test"] = PRODUCTS["train"]

NAMES = {
    "train": (
        "Anna", "Ben", "Carla", "David", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jamal",
        "Katrin", "Leo", "Mira", "Nadia", "Oscar", "Paula",
    ),
    "test": ("Quentin", "Rosa", "Samir", "Tanja", "Umut", "Vera", "Walter", "Yusuf"),
    "far": ("Siobhan", "Mbali", "Xiulan", "Joaquim", "Bartholomew", "Zsofia", "Kofi", "Ingeborg"),
}  # fmt: skip

# What went wrong. Each key is the value of `issue` in the record.
ISSUES = {
    "not working": {
        "train": (
            "My {product} does not turn on any more.",
            "The {product} stopped working after two days.",
            "I plug in the {product} and nothing happens.",
            "The new {product} is completely dead.",
            "My {product} switches itself off every few minutes.",
            "The {product} I bought from you no longer works.",
            "There is no sign of life from my {product}.",
            "The {product} makes a humming sound but does nothing.",
        ),
        "test": (
            "I cannot get the {product} to start.",
            "The {product} gave up this morning, not even a light.",
            "Pressing the button on the {product} has no effect.",
            "My {product} keeps failing.",
        ),
        "far": (
            "so the {product} is toast, won't do a thing",
            "Whatever I try, this {product} refuses to run.",
            "the {product} died on me",
            "Regrettably the {product} has ceased to function.",
        ),
    },
    "damaged": {
        "train": (
            "The {product} arrived with a big crack.",
            "My {product} came out of the box broken in two.",
            "There is a deep scratch across the {product}.",
            "The {product} was smashed when I opened the parcel.",
            "One side of the {product} is dented.",
            "The {product} has a broken handle.",
            "The box was crushed and so was the {product}.",
            "I unpacked the {product} and a piece had snapped off.",
        ),
        "test": (
            "The cover of the {product} is split.",
            "My {product} reached me in pieces.",
            "The {product} is bent and badly scraped.",
            "Somebody must have dropped the {product}, it is all cracked.",
        ),
        "far": (
            "opened the parcel, {product} shattered",
            "The {product} bears a large chip and two fractures.",
            "the courier must've sat on my {product}, it's squashed",
            "The casing of the {product} was torn on arrival.",
        ),
    },
    "not delivered": {
        "train": (
            "My {product} has not arrived yet.",
            "I am still waiting for the {product}.",
            "The {product} should have been here last week.",
            "Where is my {product}?",
            "The parcel with the {product} never came.",
            "The tracking page says delivered, but I have no {product}.",
            "I ordered a {product} and got nothing so far.",
            "The {product} is lost in the post, it seems.",
        ),
        "test": (
            "There is still no trace of the {product} I ordered.",
            "Nobody has brought the {product}.",
            "When will the {product} finally get here?",
            "The {product} did not turn up on the promised day.",
        ),
        "far": (
            "any news of my {product}? doorstep's empty",
            "The {product} has yet to reach my address.",
            "been ages and no {product} in sight",
            "I have so far awaited the {product} in vain.",
        ),
    },
    "wrong charge": {
        "train": (
            "You charged me twice for the {product}.",
            "The bill for the {product} is too high.",
            "I paid for one {product} and was billed for two.",
            "My card was charged again for the {product}.",
            "The price of the {product} on the invoice is wrong.",
            "The discount on the {product} was not taken off.",
            "I returned the {product} and still had to pay for it.",
            "There is a second payment for the {product} on my account.",
        ),
        "test": (
            "You took the money for the {product} two times.",
            "I was asked to pay more for the {product} than the shop page said.",
            "The invoice for the {product} does not match the offer.",
            "Why did my bank pay you double for the {product}?",
        ),
        "far": (
            "overcharged for the {product} again, seriously?",
            "My statement shows a duplicate debit for the {product}.",
            "you lot billed me for a {product} i cancelled",
            "The sum demanded for the {product} exceeds what we agreed.",
        ),
    },
    "wrong item": {
        "train": (
            "I ordered a {product} and got something else.",
            "This is not the {product} I asked for.",
            "You sent me the wrong {product}.",
            "The {product} in the box is a different model.",
            "I wanted a black {product} and this one is pink.",
            "Instead of the {product} there was a book in the parcel.",
            "The {product} is the wrong size.",
            "Somebody mixed up the parcels, this is not my {product}.",
        ),
        "test": (
            "The {product} you shipped is not the one from my order.",
            "A different thing came in place of the {product}.",
            "The colour of the {product} is not what I chose.",
            "I received another customer's goods and not my {product}.",
        ),
        "far": (
            "got socks?? i bought a {product}",
            "The article supplied is not the {product} specified.",
            "that's never the {product} i picked, swap it",
            "What came bears no resemblance to the {product} in your catalogue.",
        ),
    },
}

ORDER = {
    "train": (
        "My order number is {order}.",
        "It was order {order}.",
        "The order is {order}.",
        "Order: {order}.",
        "You will find it under {order}.",
        "I bought it with order {order}.",
    ),
    "test": (
        "The number on the receipt is {order}.",
        "See order no. {order}.",
        "This is about {order}.",
        "The confirmation says {order}.",
    ),
    "far": (
        "ref {order}",
        "Kindly consult purchase {order}.",
        "it's {order} btw",
        "(my reference: {order})",
    ),
}

URGENT = {
    "train": (
        "I need it by tomorrow.",
        "Please hurry, this is urgent.",
        "Please answer today.",
        "I cannot wait any longer.",
        "It is a present for this evening.",
    ),
    "test": (
        "Please treat this as an emergency.",
        "It has to be sorted out before tonight.",
        "I need help right away.",
    ),
    "far": ("asap!!", "The matter brooks no delay.", "clock's ticking, party is in 3 hours"),
}

CALM = {
    "train": (
        "There is no hurry.",
        "Any day next month is fine.",
        "I bought it three weeks ago.",
        "I have been a customer for 12 years.",
        "Otherwise I like your shop.",
        "I already wrote to you about ticket 5512.",
    ),
    "test": ("Take your time.", "I can do without it for a while.", "It cost 49 euros."),
    "far": ("no rush tho", "I remain patient.", "was 30 quid in the sale"),
}

GREETING = {
    "train": ("Hello,", "Hi there,", "Good morning,", "Dear team,"),
    "test": ("Hey,", "Good evening,", "To whom it may concern,"),
    "far": ("yo", "Esteemed colleagues,", "hiya"),
}

SIGNED = {
    "train": (
        "Thanks, {name}",
        "Best wishes, {name}",
        "{name}",
        "My name is {name}.",
        "Yours, {name}",
    ),
    "test": ("Kind regards, {name}", "Cheers, {name}", "This is {name} writing."),
    "far": ("ta, {name}", "I have the honour to be, {name}", "- {name}"),
}
