"""Quizzes that need no running Python: questions with options, an explanation for each, and a score.

A quiz is plain HTML: radio buttons, whose explanation a style sheet shows as soon as one is chosen, and a counter for
the score. So it works in the built page, in Jupyter and in Colab alike, by keyboard and with a screen reader, and what
a notebook stores does not change from run to run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

STYLE = """
.quiz fieldset{border:0;border-top:1px solid rgba(128,128,128,.5);margin:0;padding:.6em 0 .8em}
.quiz legend{font-weight:600;font-size:1em;padding:.5em .4em 0 0;float:none}
.quiz .option{display:flex;align-items:baseline;gap:.5em;flex-wrap:wrap;padding:.2em 0}
.quiz .option label{flex:1;min-width:12em;cursor:pointer}
.quiz .why{display:none;flex-basis:100%;margin:.2em 0 .3em 1.2em;padding:.3em .7em;border-left:4px solid #b35900}
.quiz .right+label+.why{border-left-color:#1a7f37}
.quiz input:checked+label+.why{display:block}
.quiz{counter-reset:right answered}
.quiz input:checked{counter-increment:answered}
.quiz input.right:checked{counter-increment:right answered}
.quiz .score::after{content:counter(right) " right, " counter(answered)}
"""


@dataclass(frozen=True)
class Option:
    """One answer that may be chosen.

    Attributes:
        text: the answer.
        why: what is shown to those who choose it.
        right: whether it is the right one.
    """

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question with its options, one of which is right."""

    text: str
    options: tuple[Option, ...]


class Quiz:
    """The questions of a chapter, which a notebook shows as a form.

    Args:
        name: number of the chapter, as "03", or number and kind, as "01-self-test".
        questions: at least one.
    """

    def __init__(self, name: str, questions: tuple[Question, ...]) -> None:
        self.name, self.questions = name, questions

    def __repr__(self) -> str:
        chapter, _, kind = self.name.partition("-")
        title = f"{kind.capitalize() or 'Quiz'} of chapter {int(chapter)}"
        lines = [f"{title}, {len(self.questions)} questions; a notebook shows it as a form."]
        for number, question in enumerate(self.questions, start=1):
            lines += ["", f"{number}. {question.text}", *(f"   ( ) {option.text}" for option in question.options)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [self._fieldset(number, question) for number, question in enumerate(self.questions, start=1)]
        score = f'<p role="status"><span class="score"></span> of {len(self.questions)} answered.</p>'
        again = '<button type="reset">Start again</button>'
        return f'<style>{STYLE}</style><form class="quiz" autocomplete="off">{"".join(parts)}{score}{again}</form>'

    def _fieldset(self, number: int, question: Question) -> str:
        options = ""
        for place, option in enumerate(question.options):
            name = f"quiz-{self.name}-{number}"
            kind = ' class="right"' if option.right else ""
            verdict = "Right." if option.right else "No."
            options += (
                f'<div class="option"><input type="radio"{kind} name="{name}" id="{name}-{place}">'
                f'<label for="{name}-{place}">{escape(option.text)}</label>'
                f'<div class="why" role="status"><strong>{verdict}</strong> {escape(option.why)}</div></div>'
            )
        return f"<fieldset><legend>{number}. {escape(question.text)}</legend>{options}</fieldset>"


def quiz(name: str) -> Quiz:
    """Give the quiz of a chapter.

    Args:
        name: number of the chapter, as "03", or number and kind, as "01-self-test".

    Raises:
        ValueError: there is none of this name.
    """
    folder = files("medclipsam_utils") / "quizzes"
    known = sorted(file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json"))
    if name not in known:
        raise ValueError(f"there is no quiz {name!r}; there are {', '.join(known)}")
    found: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return Quiz(name, tuple(
        Question(one["question"], tuple(Option(**option) for option in one["options"])) for one in found
    ))  # fmt: skip
