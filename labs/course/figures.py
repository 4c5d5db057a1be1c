"""Figures that scale and follow the page's colours: SVG with text as text, PNG where SVG is not
shown."""

import io
import re
import statistics
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .errors import CourseError

# every colour has a contrast of at least 3:1 on a white page and on a near-black one
PALETTE = BLUE, ORANGE, GREEN, PURPLE, GREY, PINK = (
    "#2f80d0",
    "#d1640c",
    "#1a9773",
    "#b45ac0",
    "#7c8794",
    "#c9487a",
)
INK = "#010203"  # stands for the page's text colour; replaced by currentColor in the SVG
# For an SVG shown by itself, as in JupyterLab, where nothing says whether the page is light or dark:
# a grey that has a contrast of more than 4:1 on both.
ALONE = "svg:root { color: #7b7b7b }"
STYLE = {
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.figsize": (6.4, 3.6),
    "svg.fonttype": "none",
    "svg.hashsalt": "course",  # the same ids in every run
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
}


def style() -> None:
    """Make matplotlib draw in the book's style from here on; start() calls it."""
    mpl.rcParams.update(STYLE)


def band(
    ax: Axes, x: Iterable[float], curves: Sequence[Sequence[float]], color: str, label: str = ""
) -> None:
    """Draw the mean over seeds as a line, and all between their lowest and highest as a band.

    x: the places, one for each of curves · curves: at each place the seeds' values
    """
    x = list(x)
    ax.plot(x, [statistics.fmean(values) for values in curves], color=color, label=label or None)
    low, high = ([end(values) for values in curves] for end in (min, max))
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def show(fig: Figure, alt: str) -> None:
    """Display a figure with its description and close it.

    alt: one or two sentences that say what the figure shows, for a reader who does not see it
    Raises CourseError for an empty alt or something that is no figure.
    """
    if not isinstance(fig, Figure):
        raise CourseError(
            f"show() was given {type(fig).__name__}: pass a figure, as in show(fig, alt)."
        )
    if not isinstance(alt, str) or not alt.strip():
        raise CourseError("show() needs alt: say in a sentence what the figure shows.")
    images = {"image/svg+xml": as_svg(fig, alt), "image/png": as_png(fig)}
    plt.close(fig)  # or the notebook draws it once more at the end of the cell
    display(images | {"text/plain": alt}, raw=True)


def as_svg(fig: Figure, alt: str) -> str:
    """The figure as one SVG element of its own size, narrower where its column is, that draws its
    ink in the text's colour."""
    file = io.StringIO()
    with mpl.rc_context({name: STYLE[name] for name in ("svg.fonttype", "svg.hashsalt")}):
        fig.savefig(
            file,
            format="svg",
            transparent=True,
            bbox_inches="tight",
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    text = file.getvalue().replace(INK, "currentColor")
    tag, body = re.search(r"<svg\b([^>]*>)(.*)", text, re.DOTALL).groups()
    # matplotlib leaves black fills out: they take the fill of the root
    return (
        f'<svg data-course-figure="" role="img" aria-label={quoteattr(alt)} fill="currentColor" '
        f'style="max-width: 100%; height: auto"{tag}\n <style>{ALONE}</style>{body}'
    )


def as_png(fig: Figure) -> bytes:
    """The figure as PNG bytes on white."""
    file = io.BytesIO()
    fig.savefig(
        file,
        format="png",
        dpi=96,
        facecolor="white",
        bbox_inches="tight",
        metadata={"Software": None},
    )
    return file.getvalue()
