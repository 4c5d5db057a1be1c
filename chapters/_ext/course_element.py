"""An HTML element that docutils has no node for, such as a form or a list item with an anchor."""

from docutils import nodes


class element(nodes.General, nodes.Element):
    """Attributes: `tag` and `html`, the dict of its HTML attributes."""


def make(tag, *children, **html):
    """An element; `class_` and `for_` lose their underscore, `aria_x` becomes `aria-x`."""
    names = {name.rstrip("_").replace("_", "-"): value for name, value in html.items()}
    node = element(tag=tag, html=names)
    node += list(children)
    return node


def visit_element(translator, node):
    attributes = "".join(
        f' {name}="{translator.attval(value)}"' for name, value in node["html"].items()
    )
    translator.body.append(f"<{node['tag']}{attributes}>")


def depart_element(translator, node):
    if node["tag"] != "input":
        translator.body.append(f"</{node['tag']}>")


def setup(app):
    # html only: a handler named for one other builder hides every other extension's html handlers
    # there.
    app.add_node(element, html=(visit_element, depart_element))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
