"""What the finished HTML needs: figures that follow the colour mode, a JupyterLab button, less
weight."""

import html
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

JUPYTERLAB = "http://localhost:8888/lab/tree/mine"  # the reader's own copies, which make lab makes
IMAGE = re.compile(r'<img\b[^>]*\bsrc="([^"]+\.svg)"[^>]*>')
SCRIPT = re.compile(r"\s*<script[^>]*scripts/fontawesome\.js[^>]*></script>")


def add_lab_button(app, pagename, templatename, context, doctree):
    """On a notebook's page: open the reader's own copy of it in their JupyterLab."""
    if context.get("page_source_suffix") == ".ipynb":
        context["header_buttons"].insert(
            0,
            {
                "type": "link",
                "url": f"{JUPYTERLAB}/{Path(pagename).name}.ipynb",
                "icon": "fas fa-flask",
                "text": "Open in your JupyterLab",
                "label": "open-in-jupyterlab",
                "tooltip": "Start JupyterLab first: make lab",
            },
        )


def attribute(tag, name):
    """The value of an attribute of one HTML tag, unescaped, or None."""
    found = re.search(rf'\b{name}="([^"]*)"', tag)
    return html.unescape(found[1]) if found else None


def own_ids(svg, prefix):
    """The drawing with `prefix` before every id and every reference to one: matplotlib repeats its
    ids."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", svg)
    return re.sub(r'href="#([^"]+)"', rf'href="#{prefix}\1"', svg)


def inline_svg(svg, tag, prefix):
    """The <svg> element that takes the place of the <img> `tag`, named by the image's alternative
    text."""
    head, body = re.search(r"<svg\b([^>]*)>(.*)", svg, re.S).groups()
    alt = attribute(tag, "alt")
    if not alt or alt.endswith(".svg"):  # Sphinx writes the path where there is no text
        alt = attribute(head, "aria-label") or ""
    head = re.sub(r'\s(?:role|aria-label|class|style|id)="[^"]*"', "", head)
    style = attribute(tag, "style")
    style = f' style="{html.escape(style)}"' if style else ""
    drawing = own_ids(body, prefix)
    return f'<svg class="course-figure" role="img" aria-label="{html.escape(alt)}"{style}{head}>{drawing}'


def inline_figures(page, text):
    """`text` with every course figure drawn in place, so that its ink takes the colour of the
    page's text."""
    count = 0

    def replace(match):
        nonlocal count
        path = page.parent / unquote(match[1])
        svg = path.read_text("utf8") if path.is_file() else ""
        if "data-course-figure" not in svg:
            return match[0]
        count += 1
        return inline_svg(svg, match[0], f"fig{count}-")

    return IMAGE.sub(replace, text)


def finish_pages(app, error):
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for page in out.rglob("*.html"):
        text = page.read_text("utf8")
        # The icons come from the theme's fonts; its 1.5 MB script would only draw them again.
        done = inline_figures(page, SCRIPT.sub("", text))
        if done != text:
            page.write_text(done, "utf8")
    drop_weight(out / "_static")


def drop_weight(static):
    """Delete what no page loads: source maps, the icon script, the parts of MathJax for other
    output."""
    for path in {*static.rglob("*.map"), *static.rglob("fontawesome.js*")}:
        path.unlink()
    mathjax = static / "mathjax"
    unused = [path for path in mathjax.glob("*") if path.name not in {"tex-chtml.js", "output"}]
    for path in [*unused, mathjax / "output" / "svg"]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def setup(app):
    app.connect("html-page-context", add_lab_button, priority=600)
    app.connect("build-finished", finish_pages, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
