"""Sound answers to the steps of the packaged styles pass their gates, and what is none does not."""

import pytest

from streamdocs.recipes import Request
from streamdocs.recipes.programs.styles import STYLES
from streamdocs_server.gates.gates import Gates, Rejected
from streamdocs_server.gates.steps import gates_of, judge_step

DOCUMENT = """\
The old granite bridge at Lund was built between 1841 and 1846 by masons from the valley. It has seven arches, each
12 metres wide, and cost 4,200 crowns, which the town council raised by a toll of two pennies a cart. Traders
crossed it with wool, salt and timber on their way to the coast.

When the railway arrived in 1874, traffic moved away. Weeds grew between the stones, and frost opened the joints. In
1998 an engineer called Holm measured every arch and found that the second and the fifth had shifted by 9
centimetres. The council closed the bridge to lorries and asked for an estimate. Repairs begin next spring: the
joints will be filled with lime mortar, as cement would keep water inside the walls and let the frost do more harm.
"""
QUESTION = "Why will lime mortar rather than cement be used to repair the shifted arches of the granite bridge at Lund?"
ARTICLE = """\
The granite bridge at Lund, raised by masons of the valley from 1841 to 1846, spans its river with seven arches of
12 metres. Its price of 4,200 crowns was met by the town council through a toll: every cart paid two pennies. Wool,
salt and timber went over it to the coast until 1874, the year of the railway, after which hardly anybody came.
Plants took hold in the masonry and winters widened its joints. Measurements by the engineer Holm in 1998 showed
arches two and five displaced by 9 centimetres, upon which lorries were kept off and an estimate was ordered. Work
starts next spring with lime mortar; cement would trap moisture in the walls, and ice would damage them further."""
SUMMARY = ARTICLE.partition(" Measurements")[0]
EASY = """\
There is an old stone bridge at Lund. Masons from the valley built it from 1841 to 1846. The stone is granite, which
is very hard. The bridge has seven arches. An arch is the round part that you can go under, and here each is 12
metres wide. All of it cost 4,200 crowns. To get this money, the council let each cart pay two pennies. Then the
train came, in 1874, and few carts were left. In 1998 a man called Holm found two arches that had moved by 9
centimetres. Next spring people will fill the gaps with lime."""
PAIRS = """\
Question: When was the granite bridge at Lund built, and by whom?
Answer: Masons from the valley built it between 1841 and 1846.

Question: How did the town pay for the seven arches of the bridge?
Answer: By a toll of two pennies for each cart, which brought in the 4,200 crowns that it cost.

Question: Which of these changed the traffic over the bridge? (a) a flood (b) the railway (c) a war (d) a new toll
Answer: (b). After the railway arrived in 1874, carts no longer went that way.

Question: What did Holm find in 1998?
Answer: The second and the fifth arch had shifted by 9 centimetres, since frost had opened the joints."""
LIST = """\
- The granite bridge at Lund was built from 1841 to 1846 and has seven arches of 12 metres.
- The town council of Lund paid 4,200 crowns for its bridge out of a toll of two pennies a cart.
- The railway of 1874 took the traffic from the bridge at Lund.
- Lime mortar lets walls dry, while cement keeps water inside them, which frost then turns into damage."""
FAQ = """\
**Where is the bridge, and how old is it?**

It stands at Lund and was built by masons from the valley between 1841 and 1846, so it is well over a century and a
half old.

**Who paid for it?**

The town council did, with a toll of two pennies on every cart until the 4,200 crowns were together.

**Can lorries use it?**

No. Since the engineer Holm found in 1998 that the second and fifth arches had shifted by 9 centimetres, it has been
closed to them.

**Why is lime mortar used for the repairs?**

Cement would keep water inside the walls, where frost does harm; lime lets it out."""
TABLE = """\
The history of the bridge at Lund in the order of its years:

| Year | Event | Figure |
|---|---|---|
| 1841 | masons from the valley begin to build | seven arches of 12 metres |
| 1846 | the bridge is complete | 4,200 crowns |
| 1874 | the railway arrives and traffic moves away | |
| 1998 | Holm measures the arches | 9 centimetres |

Of the arches, two have shifted; the others stand as they were built."""
TUTORIAL = """\
# How to tell whether an old stone bridge needs lime mortar

You will learn to read the signs of frost in a wall. All you need to know is that water expands when it freezes.

1. Look at the joints. Weeds between the stones, as on the granite bridge at Lund, mean that mortar is gone.
2. Measure every arch and compare. Holm did so in 1998 and found that two of seven had shifted by 9 centimetres. Without
   the other five he could not have known what was normal.
3. Choose the mortar. Cement keeps water inside the walls; lime lets it dry. A common mistake is to take the stronger.

Exercise: an arch of 12 metres has shifted by 9 centimetres. What share of its width is that? Solution: 0.09 / 12 =
0.75 %."""
MATHEMATICS = """\
Problem:
A council wants to raise 4,200 crowns by a toll of two pennies a cart. A crown has 240 pennies. If 60 carts cross on
each of 300 days a year, how many years does it take?

Solution:
1. In pennies the cost is 4,200 x 240 = 1,008,000.
2. Each cart pays 2 pennies, so 1,008,000 / 2 = 504,000 carts have to cross.
3. In one year, 60 x 300 = 18,000 carts do.
4. 504,000 / 18,000 = 28.

It takes 28 years."""
DIALOGUE = """\
Maya: You work on the bridge at Lund, don't you? Why is it closed to lorries?
Erik: Because two of its seven arches have shifted. Holm measured them in 1998: 9 centimetres, the second and the fifth.
Maya: That is not much for something 12 metres wide.
Erik: Under a lorry it is. It is granite, built between 1841 and 1846, and the joints are open since the frost got in.
Maya: So you fill them with cement and that's it?
Erik: No, with lime mortar. Cement would keep the water inside, and the next winter would do more harm.
Maya: Who paid for it back then?
Erik: Every cart paid two pennies until the council had its 4,200 crowns. Then the railway came, in 1874."""
THOUGHTS = """\
What carries the argument is the behaviour of water. Granite itself hardly absorbs any, so whatever gets into the
wall comes through the joints, and it can only leave the same way. A dense cement closes that way out; I would
expect the stones beside such a joint to spall within a few winters. Nine centimetres sounds small, but for a
masonry arch what matters is whether the line of thrust stays within the ring, and that depends on its thickness,
which is not given. I would also want to know why just the second and the fifth moved: if both stand on one pier
each side of the main current, scour may be the cause, and new mortar alone would not help."""
ANSWER = """\
The joints are where water gets in, so what fills them decides whether it gets out again. Cement is dense: moisture
that has entered behind it stays in the wall, freezes in winter, expands by about nine per cent and pushes the
stones apart. Lime mortar is porous and softer than granite, so the wall dries through its joints, and small
movements open no cracks. That is why lime is used although cement is stronger."""
CRITIQUE = """\
1. The draft says that the bridge has eight arches; the original text says seven.
2. The text does not mention the toll of two pennies, which should follow the cost.
3. In the second sentence, "the author" is a remark that is no part of an article."""
SOUND = {
    "encyclopedia": ARTICLE,
    "easy": EASY,
    "hard": ARTICLE,
    "question-answer": PAIRS,
    "distil": SUMMARY,
    "extract-knowledge": LIST.replace("- ", ""),
    "knowledge-list": LIST,
    "faq": FAQ,
    "table": TABLE,
    "tutorial": TUTORIAL,
    "mathematics": MATHEMATICS,
    "dialogue": DIALOGUE,
    "after-thoughts": THOUGHTS,
    "append": PAIRS,
}
FIELDS = {"document": DOCUMENT, "previous": "", "question": QUESTION, "draft": ARTICLE, "critique": CRITIQUE} | {
    "text": ARTICLE,
    "verdict": "",
}


def judged(style: str, step: int, answer: str, document: str = DOCUMENT) -> tuple[str, ...] | str:
    """What an answer gives, or why it is rejected."""
    asked = STYLES[style].steps[step]
    fields = {name: {**FIELDS, "document": document}[name] for name in asked.inputs}
    request = Request(
        kind=asked.kind, template=asked.prompt, fields=fields, n=1, max_tokens=asked.max_tokens, step=asked
    )
    given = judge_step(gates_of(Gates(), asked), answer, "stop", request)
    return given.cause if isinstance(given, Rejected) else given


@pytest.mark.parametrize("style", SOUND)
def test_a_sound_text_passes_as_it_is(style: str):
    assert judged(style, 0, SOUND[style]) == (SOUND[style],)
    assert len(SOUND[style]) >= STYLES[style].least


@pytest.mark.parametrize("style", ["faq", "table", "dialogue", "append"])
def test_where_a_form_has_a_length_of_its_own_a_short_document_may_have_it(style: str):
    assert judged(style, 0, SOUND[style], DOCUMENT[:180]) == (SOUND[style],)
    assert judged(style, 0, SOUND[style], DOCUMENT * 20) == (SOUND[style],)


def test_a_summary_may_be_a_twentieth_of_its_document_and_an_article_may_not():
    document = " ".join(f"{DOCUMENT} It has number {number}." for number in range(9))
    assert judged("distil", 0, SUMMARY, document) == (SUMMARY,)
    assert judged("encyclopedia", 0, SUMMARY, document) == "too short"


def test_questions_are_read_from_their_tags_and_answered():
    listed = f"Here are some:\n<question>{QUESTION}</question>\n<question>How many arches has it?</question>"
    assert judged("answer", 0, f"<think>Easy.</think>\n\n{listed}") == (QUESTION, "How many arches has it?")
    assert judged("answer", 0, QUESTION) == "not as asked"
    assert judged("answer", 1, ANSWER) == (ANSWER,)


@pytest.mark.parametrize("critique", [CRITIQUE, "nothing", "Nothing."])
def test_a_critique_may_be_of_any_length_and_speak_of_the_text(critique: str):
    assert judged("correct", 1, critique) == (critique,)


def test_what_is_corrected_may_be_the_draft_with_a_word_changed():
    assert judged("correct", 2, ARTICLE.replace("hardly anybody", "few")) != "copy"
    assert judged("correct", 2, f"The text says that the draft is about a bridge. {ARTICLE}") == "speaks of the text"


def test_a_verdict_says_what_is_wrong():
    answer = "<remark>The text omits the toll.</remark>\n<verdict>revise</verdict>"
    assert judged("judge", 1, f"<think>reject?</think>\n{answer}") == ("revise", "The text omits the toll.")
    assert judged("judge", 1, "It is fine, so I accept it.") == "not as asked"


@pytest.mark.parametrize("style", [style for style in SOUND if style not in ("mathematics", "after-thoughts")])
def test_what_is_about_something_else_is_rejected(style: str):
    answer = "My favourite recipe for pancakes needs three eggs, flour, milk, butter, sugar and patience. " * 2
    answer += (
        "Beat everything together, wait half an hour, heat some oil inside your largest pan, then pour, turn, serve."
    )
    assert judged(style, 0, answer) == "off topic"


@pytest.mark.parametrize("style", SOUND)
def test_a_refusal_is_one_in_every_style(style: str):
    assert judged(style, 0, "I'm sorry, but I cannot help with this request.") == "refusal"
