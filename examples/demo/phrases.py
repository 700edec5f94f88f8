"""What the shop's customers ask and what its staff say: the vocabulary and sentence forms of the text world.

A question has an intent (what is asked) and a subject (about which product, or the shop in which city). A reply is an
opener, an answer and a closer; each can be missing. An answer states a figure or stays vague, and names its subject or
says "it". Notation: `forms.py`.
"""

from typing import NamedTuple

from forms import Slot

PRODUCTS = (
    *("kettle", "lamp", "chair", "desk", "tent", "clock", "camera", "jacket"),
    *("heater", "printer", "mirror", "sofa", "radio", "guitar", "ladder", "piano"),
)
CITIES = ("Leeds", "Bristol", "Oxford", "Cardiff", "York", "Glasgow")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

SLOTS: dict[str, Slot] = {
    "product": PRODUCTS,
    "city": CITIES,
    "day": DAYS,
    "days": range(2, 31),
    "hours": range(2, 49),
    "weeks": range(2, 9),
    "years": range(2, 11),
    "pounds": range(3, 100),
    "percent": range(5, 51),
    "kilograms": range(2, 41),
    "morning": range(6, 12),
    "evening": range(4, 11),
}


class Intent(NamedTuple):
    """One thing that customers ask. The subject is the slot `product` or `city`."""

    topic: str
    subject: str
    questions: tuple[str, ...]
    figured: tuple[str, ...]  # answers that state a figure
    vague: tuple[str, ...]  # answers that do not


INTENTS: dict[str, Intent] = {
    "order": Intent(
        "deliveries",
        "product",
        (
            "Where is my order for the {product}?",
            "What is the status of my order for the {product}?",
            "My order for a {product} has not come, where is it?",
            "(Can|Could) you (check|look up) my order for the {product}?",
            "Has my order for the {product} been sent( yet| already|)?",
        ),
        (
            "Your order for the {product} (left our warehouse|was sent|was packed) {hours} hours ago",
            "We sent (you |)your order for the {product} {days} days ago",
            "Your order (left our warehouse|was sent) {days} days ago",
        ),
        (
            "Your order for the {product} (is on its way|has been sent|has left our warehouse)",
            "We are still packing your order for the {product}",
            "Your order is (already |)on its way",
        ),
    ),
    "arrive": Intent(
        "deliveries",
        "product",
        (
            "When (will|does) my {product} arrive( in {city}|)?",
            "How (soon|fast) can a {product} arrive( in {city}| at my house|)?",
            "On which day will the {product} arrive( in {city}|)?",
            "How long do I wait for the {product} to arrive?",
        ),
        (
            "(The|Your) {product} (will|should) arrive (in|within) {days} (working |)days",
            "It takes (about |){days} days for the {product} to arrive",
            "It (will|should) arrive (in|within) {days} days",
        ),
        (
            "(The|Your) {product} (will|should) arrive (soon|shortly|before long)",
            "It takes (a while|some time) for the {product} to arrive",
            "It should arrive (soon|shortly)",
        ),
    ),
    "refund": Intent(
        "refunds",
        "product",
        (
            "When (will|do) I get my refund for the {product}?",
            "How long does the refund for my {product} take?",
            "I sent the {product} back, when is the refund (coming|paid)?",
            "Where is my refund for the {product}?",
        ),
        (
            "The refund for (your|the) {product} takes {days} (working |)days",
            "We will pay the refund for the {product} (in|within) {days} days",
            "The refund is paid (in|within) {days} days",
        ),
        (
            "The refund for (your|the) {product} is (on its way|being processed)",
            "We will pay the refund for the {product} (soon|shortly)",
            "The refund is on its way",
        ),
    ),
    "return": Intent(
        "refunds",
        "product",
        (
            "How long can I return the {product}?",
            "Until when can I return my {product}?",
            "My {product} is (broken|the wrong colour|too big), can I return it?",
            "Can I (still |)return a {product} that I (do not like|have used)?",
        ),
        (
            "You can return the {product} within {weeks} weeks",
            "You have {days} days to return (your|the) {product}",
            "You can return it within {days} days",
        ),
        (
            "You can return (your|the) {product} (at any shop|by post)",
            "It is easy to return (your|the) {product}",
            "You can return it (at any shop|by post)",
        ),
    ),
    "open": Intent(
        "hours",
        "city",
        (
            "When (does|will) the shop in {city} open( on {day}|)?",
            "What time do you open in {city}( on {day}|)?",
            "Does the {city} shop open early on {day}?",
            "How long do I wait for the {city} shop to open?",
        ),
        (
            "The shop in {city} will open at {morning} am (on {day}|every day)",
            "We open our {city} shop at {morning} am",
            "We open at {morning} am (on {day}|every day)",
        ),
        (
            "The shop in {city} will open (early|in the morning)",
            "We open our {city} shop (as usual|a little later) on {day}",
            "We open in the morning",
        ),
    ),
    "close": Intent(
        "hours",
        "city",
        (
            "When (does|will) the shop in {city} close( on {day}|)?",
            "What time do you close in {city}( on {day}|)?",
            "Does the {city} shop close late on {day}?",
            "How late can I come to the {city} shop before you close?",
        ),
        (
            "The shop in {city} will close at {evening} pm (on {day}|every day)",
            "We close our {city} shop at {evening} pm",
            "We close at {evening} pm (on {day}|every day)",
        ),
        (
            "The shop in {city} will close (late|in the evening)",
            "We close our {city} shop (as usual|a little earlier) on {day}",
            "We close in the evening",
        ),
    ),
    "price": Intent(
        "prices",
        "product",
        (
            "What is the price of (a|the) {product}?",
            "What price does the {product} have( today| now|)?",
            "Can you tell me the price of the {product}?",
            "Has the price of the {product} gone (up|down)?",
        ),
        (
            "The price of the {product} is {pounds} pounds",
            "The {product} has a price of {pounds} pounds",
            "The price is {pounds} pounds",
        ),
        (
            "The price of the {product} (has not changed|is fair|went down)",
            "The {product} has a (good|low|fair) price",
            "The price is (low|fair)",
        ),
    ),
    "discount": Intent(
        "prices",
        "product",
        (
            "Is there a discount on the {product}?",
            "How much discount (can|do) I get on the {product}( this week| today|)?",
            "Do you give a discount on the {product}( this week| today|)?",
            "Can I (get|have) a discount on my {product}?",
        ),
        (
            "The discount on the {product} is {percent} percent( today| this week|)",
            "We give (you |)a discount of {percent} percent on the {product}",
            "We give a discount of {percent} percent",
        ),
        (
            "The discount on the {product} ends (soon|today)",
            "There is (a small|a good|no) discount on the {product}",
            "We give a discount this week",
        ),
    ),
    "weight": Intent(
        "products",
        "product",
        (
            "What is the weight of (a|the) {product}?",
            "Do you know the weight of the {product}?",
            "What weight does the {product} have?",
            "Is the weight of the {product} a problem?",
        ),
        (
            "The weight of the {product} is (about |){kilograms} kilograms",
            "The {product} has a weight of {kilograms} kilograms",
            "The weight is {kilograms} kilograms",
        ),
        (
            "The weight of the {product} is (quite|very) (low|high)",
            "The {product} has a (low|high) weight",
            "The weight is (quite|very) low",
        ),
    ),
    "warranty": Intent(
        "products",
        "product",
        (
            "How long is the warranty (on|of) the {product}?",
            "What warranty does the {product} (have|come with)?",
            "Is my {product} still under warranty?",
            "Does the {product} (have|come with) a warranty?",
        ),
        (
            "The {product} (has|comes with) a warranty of {years} years",
            "The warranty on the {product} lasts {years} years",
            "The warranty lasts {years} years",
        ),
        (
            "The {product} (has|comes with) a (long|full) warranty",
            "The warranty on the {product} is (long|short)",
            "The warranty is long",
        ),
    ),
}

GREETINGS = (*("",) * 5, "Hello. ", "Hi. ", "Good morning. ", "Good evening. ", "Hi there. ")
BACKGROUND = (
    *("",) * 6,
    " It is (a gift|for a friend|for my sister|for my father|urgent).",
    " I (live|work) in {city}.",
    " I need to know by {day}.",
)

OPENERS = (
    "Thank you for (asking|your question|your message)",
    "Thanks for (asking|getting in touch)",
    "Good (morning|afternoon|evening) and thank you for asking",
    "Of course, I can help you with that",
)
OPENERS_ABOUT = {
    "product": (
        "Thank you for (asking|writing to us|your message) about the {product}",
        "Thanks for (asking|your question) about the {product}",
        "I am (happy|glad) to help you with the {product}",
        "We are sorry for the trouble with the {product}",
    ),
    "city": (
        "Thank you for (asking|writing to us|your message) about our {city} shop",
        "Thanks for (asking|your question) about the shop in {city}",
        "I am (happy|glad) to tell you about our {city} shop",
    ),
}
"""Openers that name the subject."""
CLOSERS = (
    "Please (let us know|tell us) if you (need anything else|have more questions)",
    "Have a (nice|lovely|good|great) (day|week|weekend)",
    "We are (happy|glad|here) to help (at any time|again)",
    "Thank you for (shopping with us|choosing our shop)",
)
EVASIONS = (
    "(No idea|I have no idea)",
    "Look it up on our website",
    "Ask (someone else|another shop)",
    "I do not know (anything about that|that)",
    "We cannot help you with that( today|)",
    "That is not my job",
    "You should read the small print",
)
"""Answers to nothing."""
