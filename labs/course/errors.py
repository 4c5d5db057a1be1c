"""The errors that the course raises itself: one sentence, and no traceback in a notebook."""


class CourseError(Exception):
    """Something the reader can put right. The message says what is wrong and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints for an uncaught error: the sentence is enough."""
        return [f"{type(self).__name__}: {self}"]


class EvidenceError(CourseError):
    """A measured value breaks the bound that the claims file sets for it."""
