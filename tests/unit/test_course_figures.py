"""Figures: colours that can be read, ink that follows the page, the same bytes every time."""

import re
import xml.etree.ElementTree as xml

import matplotlib
import pytest
from course import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    PINK,
    PURPLE,
    CourseError,
    band,
    figures,
    show,
)
from matplotlib import colors

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)

PAGES = ("#ffffff", "#14181e")


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture
def drawn():
    """A function that draws one figure in the book's style, and the same again."""
    figures.style()

    def draw():
        fig, ax = plt.subplots()
        ax.plot([1, 2, 3], label="loss")
        ax.bar([1], [2], color="black")
        ax.set(xlabel="step", ylabel="loss (nats per token)")
        ax.legend()
        return fig

    yield draw
    plt.close("all")
    matplotlib.rcdefaults()


@pytest.fixture
def shown(monkeypatch):
    """The bundles that were displayed."""
    bundles = []
    monkeypatch.setattr(figures, "display", lambda data, raw: bundles.append(data))
    return bundles


def test_contrast_is_computed_as_wcag_defines_it():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("colour", PALETTE)
def test_every_line_can_be_read_on_both_pages(colour, page):
    assert contrast(colour, page) >= 3


def test_the_style_uses_the_palette_and_the_ink(drawn):
    fig = drawn()
    ax = fig.axes[0]
    assert ax.lines[0].get_color() == PALETTE[0]
    assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible()
    assert ax.xaxis.label.get_color() == figures.INK


def test_the_bundle_has_three_forms_and_the_figure_is_closed(drawn, shown):
    fig = drawn()
    show(fig, "The loss falls from 3 to 1.")
    (data,) = shown
    assert set(data) == {"image/svg+xml", "image/png", "text/plain"}
    assert data["text/plain"] == "The loss falls from 3 to 1."
    assert data["image/png"].startswith(b"\x89PNG")
    assert not plt.fignum_exists(fig.number)


def test_the_svg_names_itself_scales_and_keeps_text(drawn, shown):
    show(drawn(), 'A "line" & <text>')
    root = xml.fromstring(shown[0]["image/svg+xml"])
    assert (root.get("role"), root.get("aria-label")) == ("img", 'A "line" & <text>')
    # A size of its own, or JupyterLab would blow it up to the width of the window; never wider than
    # its column.
    assert root.get("data-course-figure") == "" and root.get("style").startswith("max-width: 100%")
    assert [float(root.get(side)[:-2]) for side in ("width", "height")] == pytest.approx(
        [float(number) for number in root.get("viewBox").split()[2:]]
    )
    assert len(root.get("viewBox").split()) == 4
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "loss (nats per token)" in words


def test_alone_its_ink_is_readable_on_light_and_dark(drawn, shown):
    show(drawn(), "A line.")
    ink = re.search(r"svg:root { color: (#\w+) }", shown[0]["image/svg+xml"])[1]
    assert min(contrast(ink, page) for page in PAGES) >= 4
    assert "background" not in shown[0]["image/svg+xml"]


def test_the_ink_follows_the_page_and_nothing_else_is_painted(drawn, shown):
    show(drawn(), "A line.")
    svg = shown[0]["image/svg+xml"]
    painted = set(re.findall(r"(?:fill|stroke): (#\w+)", svg))
    assert painted == {PALETTE[0]}
    assert svg.count("currentColor") > 10
    assert (
        xml.fromstring(svg).get("fill") == "currentColor"
    )  # black bars carry no fill of their own


def test_the_bytes_are_the_same_every_time(drawn, shown):
    show(drawn(), "A line.")
    show(drawn(), "A line.")
    assert shown[0] == shown[1]


@pytest.mark.parametrize("alt", ["", "  ", None])
def test_a_figure_without_words_is_refused(drawn, shown, alt):
    with pytest.raises(CourseError, match="say in a sentence what the figure shows"):
        show(drawn(), alt)
    assert shown == []


def test_only_figures_are_shown(drawn):
    with pytest.raises(CourseError, match=r"show\(\) was given Axes: pass a figure"):
        show(drawn().axes[0], "A line.")


def test_a_band_is_the_mean_and_the_range_of_the_seeds():
    fig, ax = plt.subplots()
    band(ax, {10: 0, 20: 0}, [[1.0, 3.0], [4.0, 8.0]], BLUE, "label")
    (line,), (area,) = ax.lines, ax.collections
    assert line.get_xdata().tolist() == [10, 20] and line.get_ydata().tolist() == [2.0, 6.0]
    corners = {tuple(corner) for corner in area.get_paths()[0].vertices.tolist()}
    assert {(10, 1), (10, 3), (20, 4), (20, 8)} <= corners
    assert line.get_color() == BLUE and line.get_label() == "label"
    plt.close(fig)


def test_the_colours_by_name_are_the_palette():
    assert (BLUE, ORANGE, GREEN, PURPLE, GREY, PINK) == PALETTE
