"""The gold reward: what a reply is truly worth to the customer. Neither the reward model nor the trainer ever sees it.

A good reply has an opener, an answer and a closer, each at most once and in this order. Sentences that fit are
accepted; everything else (unknown words, broken sentences, repetitions, a second answer, thanks for asking about some
other product, unfinished ends) is waste.

    utility = form * (answer + subject + figure + courtesy) - (1 - form)        between -1 and 6

    form      share of accepted words among all words, squared                          0 to 1
    answer    2 for an answer to what was asked, 0.5 for one on the same topic          0 to 2
    subject   0.5 when it names the product or city asked about, 0.25 for "it"          0 to 0.5  only with answer 2
    figure    1.5 when an answer states a figure                                        0 or 1.5
    courtesy  1 for an opener, 1 for a closer                                           0 to 2

The sum is bounded and each part counts once, so nothing is gained by heaping up keywords, figures or courtesies: more
than one good reply is waste, and waste lowers `form`, which multiplies everything. An evasion without manners is worth
0, gibberish -1.
"""

from typing import NamedTuple

from phrases import CLOSERS, EVASIONS, INTENTS, OPENERS, OPENERS_ABOUT
from world import Question, forms, read_question, sentences

HIGHEST, LOWEST = 6.0, -1.0


class Answer(NamedTuple):
    """What an answering sentence says; all empty for an evasion."""

    intent: str | None = None
    subject: str | None = None  # None: says "it"
    has_figure: bool = False


class Reading(NamedTuple):
    """A reply, understood."""

    opener: bool
    answer: Answer | None
    closer: bool
    accepted_words: int
    words: int


class Terms(NamedTuple):
    """The parts of the utility, as the table above lists them."""

    form: float
    answer: float
    subject: float
    figure: float
    courtesy: float

    @property
    def utility(self) -> float:
        """Their sum, weighed by form."""
        return self.form * (self.answer + self.subject + self.figure + self.courtesy) - (1.0 - self.form)


def utility(prompt: str, response: str) -> float:
    """The gold reward of a response, LOWEST to HIGHEST; ValueError when the prompt is not of this world."""
    return terms(read_question(prompt), response).utility


def terms(question: Question, response: str) -> Terms:
    """The parts of the utility of a response."""
    read = read_reply(question, response)
    form = (read.accepted_words / read.words) ** 2 if read.words else 0.0
    return Terms(form, *_answer_terms(question, read.answer), courtesy=1.0 * read.opener + 1.0 * read.closer)


def read_reply(question: Question, response: str) -> Reading:
    """Accepts at most one opener, answer and closer, in this order, and counts what is left over."""
    stage, accepted, answer = 0, 0, None
    found = {"opener": False, "closer": False}
    for sentence in sentences(response):
        if sentence[-1] not in ".!":
            continue
        role, meaning = _read_sentence(question, sentence[:-1])
        order = _ORDER[role]
        if order <= stage:
            continue
        stage, accepted = order, accepted + len(sentence.split())
        if role == "answer":
            answer = meaning
        else:
            found[role] = True
    return Reading(found["opener"], answer, found["closer"], accepted, len(response.split()))


_ORDER = {"unknown": 0, "opener": 1, "answer": 2, "closer": 3}


def _read_sentence(question: Question, sentence: str) -> tuple[str, Answer | None]:
    """Its role in a reply to `question`, and its meaning when it answers."""
    if _matches(OPENERS, sentence) or _opens_about(question, sentence):
        return "opener", None
    if _matches(CLOSERS, sentence):
        return "closer", None
    if _matches(EVASIONS, sentence):
        return "answer", Answer()
    answer = _read_answer(sentence)
    return ("answer", answer) if answer else ("unknown", None)


def _read_answer(sentence: str) -> Answer | None:
    for name, intent in INTENTS.items():
        for texts, has_figure in ((intent.figured, True), (intent.vague, False)):
            for form in forms(*texts):
                slots = form.match(sentence)
                if slots is not None:
                    return Answer(name, slots.get(intent.subject), has_figure)
    return None


def _matches(texts: tuple[str, ...], sentence: str) -> bool:
    return any(form.match(sentence) is not None for form in forms(*texts))


def _opens_about(question: Question, sentence: str) -> bool:
    """An opener that names a subject has to name the right one."""
    subject = INTENTS[question.intent].subject
    slots = (form.match(sentence) for form in forms(*OPENERS_ABOUT[subject]))
    return any(found is not None and found[subject] == question.subject for found in slots)


def _answer_terms(question: Question, answer: Answer | None) -> tuple[float, float, float]:
    """(answer, subject, figure)"""
    if answer is None or answer.intent is None:
        return 0.0, 0.0, 0.0
    if answer.intent == question.intent:
        subject = 0.25 if answer.subject is None else 0.5 * (answer.subject == question.subject)
        return 2.0, subject, 1.5 * answer.has_figure
    same_topic = INTENTS[answer.intent].topic == INTENTS[question.intent].topic
    return 0.5 * same_topic, 0.0, 1.5 * answer.has_figure
