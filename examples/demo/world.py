"""The text world of the demo: a shop's customers ask short questions, its staff answer them, well or badly.

A demonstration is written by one of two kinds of staff. The careful ones are polite, keep to the question and state
figures; the careless evade, answer another question, name another product, and forget their manners. So supervised
fine-tuning yields a model that writes the right kind of English with much room for improvement.
"""

import random
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from forms import Form
from phrases import BACKGROUND, CLOSERS, EVASIONS, GREETINGS, INTENTS, OPENERS, OPENERS_ABOUT, SLOTS


class Question(NamedTuple):
    """A customer's question and what it means."""

    text: str
    intent: str  # a key of INTENTS
    subject: str  # the product, or the city of the shop

    @property
    def prompt(self) -> str:
        """What the policy continues."""
        return f"{self.text}\n"


class Demonstration(NamedTuple):
    """A question and a reply to it."""

    question: Question
    reply: str


class Staff(NamedTuple):
    """How often a member of staff does what; the rest of the answers are to the question and about its subject."""

    opens: float
    closes: float
    states_figure: float
    evades: float
    answers_another_question: float
    names_another_subject: float


CAREFUL = Staff(0.75, 0.65, 0.60, evades=0.02, answers_another_question=0.08, names_another_subject=0.05)
CARELESS = Staff(0.25, 0.15, 0.30, evades=0.20, answers_another_question=0.28, names_another_subject=0.12)


class Splits(NamedTuple):
    """Questions for the stages; no text is in two of them."""

    demonstrations: list[Demonstration]
    preferences: list[Question]  # replies to these train the reward model
    judged: list[Question]  # replies to these measure it
    practice: list[Question]  # PPO's prompts
    held_out: list[Question]  # never trained on: where the result is measured


class Sizes(NamedTuple):
    """How many questions each split has."""

    demonstrations: int = 12_000
    preferences: int = 4_500
    judged: int = 900
    practice: int = 2_000
    held_out: int = 256


@cache
def forms(*texts: str) -> tuple[Form, ...]:
    """Compiled once per text."""
    return tuple(Form(text, SLOTS) for text in texts)


def draw_question(rng: random.Random) -> Question:
    """A random question, some with a greeting or a word of background."""
    name = rng.choice(list(INTENTS))
    intent = INTENTS[name]
    subject = str(rng.choice(SLOTS[intent.subject]))
    asked = rng.choice(forms(*intent.questions)).draw(rng, {intent.subject: subject})
    return Question(rng.choice(GREETINGS) + asked + rng.choice(forms(*BACKGROUND)).draw(rng), name, subject)


def read_question(prompt: str) -> Question:
    """The meaning of a prompt of this world; ValueError for any other text."""
    text = prompt.removesuffix("\n")
    start = max(len(greeting) for greeting in GREETINGS if text.startswith(greeting))
    asked = text[start : text.find("?") + 1]
    for name, intent in INTENTS.items():
        for form in forms(*intent.questions):
            slots = form.match(asked)
            if slots is not None:
                return Question(text, name, slots[intent.subject])
    raise ValueError(f"not a question of this world: {prompt!r}")


def draw_reply(question: Question, rng: random.Random) -> str:
    """A reply by a random member of staff."""
    staff = rng.choice((CAREFUL, CARELESS))
    sentences = [_draw_answer(question, staff, rng)]
    if rng.random() < staff.opens:
        sentences.insert(0, _draw_opener(question, rng))
    if rng.random() < staff.closes:
        sentences.append(rng.choice(forms(*CLOSERS)).draw(rng))
    return " ".join(sentence + rng.choice("....!") for sentence in sentences)


def draw_splits(seed: int, sizes: Sizes | None = None) -> Splits:
    """All questions of a run; the same seed gives the same splits."""
    rng = random.Random(f"demo world {seed}")
    fresh = _distinct_questions(rng)
    counts = sizes or Sizes()
    demonstrated = [next(fresh) for _ in range(counts.demonstrations)]
    replies = [Demonstration(question, draw_reply(question, rng)) for question in demonstrated]
    return Splits(replies, *([next(fresh) for _ in range(count)] for count in counts[1:]))


def sentences(text: str) -> list[str]:
    """The text cut at the white space after each full stop, exclamation or question mark."""
    return [piece for piece in re.split(r"(?<=[.!?])\s+", text.strip()) if piece]


def _draw_answer(question: Question, staff: Staff, rng: random.Random) -> str:
    """The answer's sentence: an evasion, an answer to something else, or one of varying worth."""
    if rng.random() < staff.evades:
        return rng.choice(forms(*EVASIONS)).draw(rng)
    subject = INTENTS[question.intent].subject
    off_topic = rng.random() < staff.answers_another_question
    intent = INTENTS[rng.choice(list(INTENTS)) if off_topic else question.intent]
    keeps_subject = rng.random() >= staff.names_another_subject and intent.subject == subject
    texts = intent.figured if rng.random() < staff.states_figure else intent.vague
    return rng.choice(forms(*texts)).draw(rng, {subject: question.subject} if keeps_subject else None)


def _draw_opener(question: Question, rng: random.Random) -> str:
    subject = INTENTS[question.intent].subject
    texts = OPENERS if rng.random() < 0.3 else OPENERS_ABOUT[subject]
    return rng.choice(forms(*texts)).draw(rng, {subject: question.subject})


def _distinct_questions(rng: random.Random) -> Iterator[Question]:
    seen: set[str] = set()
    while True:
        question = draw_question(rng)
        if question.text not in seen:
            seen.add(question.text)
            yield question
