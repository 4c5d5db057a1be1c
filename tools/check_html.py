"""Check a built site without a network: python tools/check_html.py _build/html

Every local link leads to a file and an anchor that exist, no page loads anything from a network,
nothing depends on where the site lies, every picture has a text, and no id stands twice on a page.
"""

import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "embed": "src",
    "object": "data",
    "video": "src",
    "audio": "src",
}
NOT_LOADED = {"next", "prev", "search", "index", "author", "copyright", "canonical"}  # <link rel=…>
NETWORK = re.compile(
    r"(?:cdn\.jsdelivr\.net|cdnjs\.cloudflare\.com|unpkg\.com|esm\.(?:sh|run)"
    r"|fonts\.(?:googleapis|gstatic)\.com|cdn\.plot\.ly)[^\"'\s)]*"
)
CSS_URL = re.compile(
    r"url\(\s*['\"]?((?:https?:)?//[^'\")]+)|@import\s+['\"]((?:https?:)?//[^'\"]+)"
)


class Page(HTMLParser):
    """The ids, links, loaded files and unnamed pictures of one page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads, self.unnamed = Counter(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if a.get("id"):
            self.ids[a["id"]] += 1
        if tag == "a" and a.get("href"):
            self.links.append(a["href"])
        url = a.get(LOADING.get(tag))
        if url and not (tag == "link" and NOT_LOADED & set((a.get("rel") or "").split())):
            self.loads.append(url)
        if tag == "img" and a.get("alt") is None:
            self.unnamed.append(a.get("src"))
        if tag == "svg" and a.get("role") == "img" and not a.get("aria-label"):
            self.unnamed.append("an <svg>")


def check_url(url, loaded, where, pages):
    """What is wrong with one link or loaded file of the page `where`, or None."""
    parts = urlsplit(url)
    if parts.scheme in {"data", "mailto"}:
        return None
    if parts.scheme or parts.netloc:
        return f"loads {url} from a network" if loaded else None
    if parts.path.startswith("/"):
        return f"{url} is an absolute path"
    target = (where.parent / unquote(parts.path)).resolve() if parts.path else where
    if not target.is_file():
        return f"no file {url}"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
        return f"no anchor {url}"
    return None


def check_page(where, pages):
    page = pages[where]
    found = [check_url(url, False, where, pages) for url in page.links]
    found += [check_url(url, True, where, pages) for url in page.loads]
    found += [f"no alternative text for {picture}" for picture in page.unnamed]
    found += [
        f"the id {name} stands {count} times" for name, count in page.ids.items() if count > 1
    ]
    return [problem for problem in found if problem]


def check_mentions(path):
    """Network addresses in a script, a style sheet or a page's inline code."""
    text = path.read_text("utf8", "replace")
    found = [f"mentions {match[0]}" for match in NETWORK.finditer(text)]
    if path.suffix == ".css":
        found += [
            f"loads {match[1] or match[2]} from a network" for match in CSS_URL.finditer(text)
        ]
    return found


def check(root):
    """All problems of the site in `root`, as `page: problem`; FileNotFoundError if it has no
    page."""
    root = Path(root).resolve()
    files = [path for path in sorted(root.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path.read_text("utf8")) for path in files}
    if not pages:
        raise FileNotFoundError(f"{root} holds no page; build the book first: make book")
    problems = [(path, problem) for path in pages for problem in check_page(path, pages)]
    for path in sorted(root.rglob("*")):
        if path.suffix in {".html", ".css"} or (
            path.suffix == ".js" and "mathjax" not in path.parts
        ):
            problems += [(path, problem) for problem in check_mentions(path)]
    return [f"{path.relative_to(root)}: {problem}" for path, problem in problems]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name the folder of the built site: python tools/check_html.py _build/html")
    try:
        found = check(sys.argv[1])
    except FileNotFoundError as error:
        sys.exit(str(error))
    print(*found, f"{len(found)} problems", sep="\n")
    sys.exit(bool(found))
