"""Every page in a browser: light, dark, on a phone, over http, from the disk, by keyboard, through
axe."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import axe_playwright_python
import pytest
import yaml
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
MODES = {"light": (1280, "light"), "dark": (1280, "dark"), "phone": (390, "light")}
FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-gpu"]
PATIENCE = 180_000  # ms; for a machine that is busy with other work
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
# A lab's page holds thousands of words of code in a dozen colours: one of each is enough to look at,
# and axe takes six times as long where the others are left in and excluded.
ONE_OF_EACH_COLOUR = """() => { const seen = new Set();
    for (const word of document.querySelectorAll("pre span"))
        if (!word.querySelector("span"))
            seen.has(word.className) ? word.replaceWith(word.textContent) : seen.add(word.className) }"""
RUN_AXE = """async () => (await axe.run({resultTypes: ["violations"], preload: false})).violations.map(
    v => `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(" | ")}`)"""
TOO_WIDE = """() => document.documentElement.scrollWidth > document.documentElement.clientWidth
    ? [...document.querySelectorAll("article *")].filter(e => e.getBoundingClientRect().right > innerWidth)
        .map(e => e.outerHTML.slice(0, 120)).slice(0, 3).concat("too wide") : []"""


def book_pages():
    """The names of the book's pages, from its table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters]


def find_chromium():
    """The browser's path, from CHROMIUM or the usual names. Without one: skip, or fail in CI."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        advice = "install Chromium (Debian: apt-get install chromium) or set CHROMIUM to its path"
        if os.environ.get("CI"):
            pytest.fail(f"no browser: {advice}")
        pytest.skip(f"no browser: {advice}")
    return path


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def serve():
    """serve(folder) -> address of a local server of that folder."""
    servers = []

    def start(folder):
        handler = functools.partial(QuietHandler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser():
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def contexts(browser):
    """One window per mode; a request that leaves the machine is blocked."""
    opened = {}
    for mode, (width, scheme) in MODES.items():
        opened[mode] = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        opened[mode].set_default_timeout(PATIENCE)
        opened[mode].route(lambda url: not is_local(url), lambda route: route.abort())
    yield opened
    for context in opened.values():
        context.close()


@pytest.fixture(scope="module")
def address(site, serve):
    return serve(site.html)


def is_local(url):
    return url.startswith(("http://127.0.0.1:", "file://", "data:", "blob:", "about:"))


def open_page(context, url):
    """The page at `url`, its math drawn, and the list in which its faults are gathered."""
    page, faults = context.new_page(), []
    page.on(
        "request", lambda request: is_local(request.url) or faults.append(f"asks for {request.url}")
    )
    page.on("requestfailed", lambda request: faults.append(f"did not get {request.url}"))
    page.on(
        "response", lambda got: got.status >= 400 and faults.append(f"{got.status} for {got.url}")
    )
    page.on(
        "console",
        lambda message: message.type == "error" and faults.append(f"console: {message.text}"),
    )
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.goto(url, wait_until="load")
    page.evaluate("() => globalThis.MathJax?.startup?.promise")
    return page, faults


def run_axe(page):
    page.evaluate(
        "document.getAnimations().forEach(a => a.finish())"
    )  # half-way, a colour is neither the old nor the new
    page.evaluate(ONE_OF_EACH_COLOUR)
    page.evaluate(AXE.read_text("utf8"))
    return page.evaluate(RUN_AXE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*book_pages(), "search"])
def test_a_page_is_sound(contexts, address, name, mode):
    page, faults = open_page(contexts[mode], f"{address}/{name}.html")
    assert page.evaluate("document.documentElement.dataset.theme") == MODES[mode][1]
    faults += page.evaluate(TOO_WIDE) + run_axe(page)
    page.close()
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", book_pages())
def test_a_page_works_from_the_disk(contexts, site, name):
    page, faults = open_page(contexts["light"], (site.html / f"{name}.html").as_uri())
    math, drawn = (
        page.locator(f".bd-article {kind}").count() for kind in (".math", "mjx-container")
    )
    page.close()
    assert not faults, "\n".join(faults)
    assert drawn >= math, "math is not drawn"


def test_the_first_tab_stop_skips_to_the_content(contexts, address):
    page, _ = open_page(contexts["light"], f"{address}/index.html")
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.innerText.trim()")
    page.close()
    assert focused == "Skip to main content"


def test_a_quiz_is_answered_by_keyboard(contexts, small_book, serve):
    page, faults = open_page(contexts["light"], f"{serve(small_book.html)}/index.html")
    reasons = page.locator(".quiz-why")
    assert [reasons.nth(i).is_visible() for i in range(2)] == [False, False]
    page.locator(".quiz input").first.focus()
    page.keyboard.press("Space")
    assert [reasons.nth(i).is_visible() for i in range(2)] == [True, False]
    page.keyboard.press("ArrowDown")
    assert [reasons.nth(i).is_visible() for i in range(2)] == [False, True]
    assert reasons.nth(1).inner_text().startswith("Right.")
    faults += run_axe(page)
    page.close()
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_drawing_takes_the_colour_of_the_text(contexts, small_book, serve, mode):
    page, _ = open_page(contexts[mode], f"{serve(small_book.html)}/index.html")
    ink, text = (
        page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{property}")
        for selector, property in ((".course-figure text", "fill"), (".bd-article p", "color"))
    )
    page.close()
    assert ink == text


FAULTY = """<!doctype html><html lang="en"><head><title>x</title></head><body><main><h1>x</h1>
<img src="https://example.org/x.png"><img src="gone.png" alt="gone"><div style="width: 3000px">wide</div>
<script>console.error("broken")</script></main></body></html>"""


def test_a_faulty_page_is_noticed(contexts, serve, tmp_path):
    (tmp_path / "index.html").write_text(FAULTY, "utf8")
    page, faults = open_page(contexts["light"], f"{serve(tmp_path)}/index.html")
    faults += page.evaluate(TOO_WIDE) + run_axe(page)
    page.close()
    for fault in (
        "asks for https://example.org",
        "404 for",
        "console: broken",
        "too wide",
        "image-alt",
    ):
        assert any(fault in found for found in faults), fault
