"""The `quiz` directive: one question, radio buttons, an explanation for every option.

    ```{quiz} Which tokens does the loss count?
    - [ ] the prompt and the response ; The prompt is given, not learned: its labels are -100.
    - [x] the response ; Each response token counts once.
    ```

Exactly one option is marked `[x]`. course.js shows the explanation of the chosen option; without
JavaScript all of them stand there to be read.
"""

import re

from course_element import make
from docutils import nodes
from sphinx.util.docutils import SphinxDirective


def read_options(lines):
    """[(is_right, text, explanation)] from the directive's lines; ValueError says what is
    missing."""
    text = "\n".join(lines).strip()
    start, *items = re.split(r"^\s*- \[([ x])\] ", text, flags=re.M)
    if start:
        raise ValueError(
            f"a quiz starts with an option, - [ ] or - [x], not with {start.splitlines()[0]!r}"
        )
    options = []
    for mark, item in zip(items[::2], items[1::2]):
        option, _, explanation = " ".join(item.split()).partition(" ; ")
        if not explanation:
            raise ValueError(f"the quiz option {option!r} needs an explanation after ' ; '")
        options.append((mark == "x", option, explanation))
    if sum(right for right, _, _ in options) != 1:
        raise ValueError("mark exactly one option of a quiz with [x]")
    return options


class Quiz(SphinxDirective):
    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        try:
            options = read_options(self.content)
        except ValueError as error:
            raise self.error(str(error)) from error
        name = f"quiz-{self.env.docname.replace('/', '-')}-{self.env.new_serialno('quiz')}"
        fields = make("fieldset", make("legend", *self.inline(self.arguments[0])))
        explanations = make("div", class_="quiz-result", aria_live="polite")
        for number, (right, text, explanation) in enumerate(options):
            choice = make(
                "input", type="radio", name=name, id=f"{name}-{number}", value=str(number)
            )
            label = make("label", *self.inline(text), for_=f"{name}-{number}")
            fields += make("div", choice, label, class_="quiz-option")
            lead = "Right." if right else "Not quite."
            explanations += make(
                "p",
                nodes.strong("", lead),
                nodes.Text(" "),
                *self.inline(explanation),
                class_="quiz-why quiz-right" if right else "quiz-why",
            )
        return [make("form", fields, explanations, class_="quiz")]

    def inline(self, text):
        children, _ = self.state.inline_text(text, self.lineno)
        return children


def setup(app):
    app.add_directive("quiz", Quiz)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
