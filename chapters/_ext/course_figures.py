"""A lab's figure on another page, as the lab drew it from its stored results.

    ```{lab-figure} 04_ppo Gold score and proxy score
    What to look at, in a sentence or two.
    ```

The words after the lab are the beginning of the figure's description, which show() was given. A lab
without such a figure, or with several, is a warning.
"""

import re
from pathlib import Path

from course import link_to_lab
from course_element import make
from course_html import inline_svg
from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from stored_figures import figures_of

logger = logging.getLogger(__name__)


class LabFigure(SphinxDirective):
    required_arguments = 2
    final_argument_whitespace = True
    has_content = True

    def run(self):
        lab, begins = self.arguments
        notebook = f"labs/{lab}.ipynb"
        self.env.note_dependency(notebook)
        try:
            found = [
                one
                for one in figures_of(Path(self.env.srcdir) / notebook)
                if one[0].startswith(begins)
            ]
        except OSError:
            found = []
        if len(found) != 1:
            problem = "no figure begins" if not found else "several figures begin"
            logger.warning(
                "%s with %r in %s", problem, begins, notebook, location=self.get_location()
            )
            return []
        _, svg, cell = found[0]
        prefix = re.sub(r"\W", "-", f"{lab}-{begins}-").lower()
        caption = make("figcaption")
        caption += self.parse_content_to_nodes()
        source = link_to_lab(self.env, lab, {"cell": cell}, nodes.Text(f"Drawn in lab {lab}."))
        caption += nodes.paragraph("", "", source)
        drawing = nodes.raw("", inline_svg(svg, "<img>", prefix), format="html")
        return [make("figure", drawing, caption, class_="lab-figure")]


def setup(app):
    app.add_directive("lab-figure", LabFigure)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
