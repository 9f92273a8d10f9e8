"""The page in a real browser: Debian's chromium, with no network but this machine's own."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.serving import Server, picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None and os.environ.get("ZSSR_NEEDS_BROWSER") == "1":
    raise RuntimeError("there has to be a chromium for these tests, as ZSSR_NEEDS_BROWSER asks")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)")

WAIT = 60_000  # milliseconds, for what may take long on a busy machine
STEPS = 150
# What Chromium itself notes of an answer that a test asks for.
EXPECTED = ("Failed to load resource", "net::ERR_CONNECTION_REFUSED", "net::ERR_INCOMPLETE_CHUNKED_ENCODING")
DROP = """([zone, data]) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], "small.jpg", { type: "image/jpeg" }));
    for (const type of ["dragenter", "dragover", "drop"])
        zone.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("web") / "data")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page, and all that it asked for and complained of."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("response", lambda response: self._answered(response.url, response.status))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("dialog", lambda dialog: dialog.accept())

    def _answered(self, url: str, status: int) -> None:
        if "/api/" not in url and status >= 400:  # of the API tests ask for such answers
            self.complaints.append(f"{status} {url}")

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(words in text for words in EXPECTED):
            self.complaints.append(text)

    def check(self) -> None:
        assert self.complaints == []
        outside = [url for url in self.asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]
        assert outside == []


@pytest.fixture
def watched(browser: Browser, server: Server) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    watched = Watched(context)
    watched.page.goto(server.url)
    yield watched
    watched.check()
    context.close()


def choose(page: Page, data: bytes, steps: int = STEPS, scale: str = "2") -> None:
    page.get_by_test_id("file-input").set_input_files(
        [{"name": "small.png", "mimeType": "image/png", "buffer": data}]  # type: ignore[list-item]
    )
    expect(page.locator("#proposed")).not_to_be_empty(timeout=WAIT)
    page.locator(f"[name=scale][value='{scale}']").check(force=True)
    page.locator("#setting-num_epochs").evaluate("element => { element.closest('details').open = true; }")
    page.locator("#setting-num_epochs").fill(str(steps))


def start(page: Page) -> str:
    page.get_by_test_id("start").click()
    page.wait_for_url("**/jobs/*", timeout=WAIT)
    return page.url


def test_a_picture_is_dropped_watched_compared_and_taken_home(watched: Watched, tmp_path: Path) -> None:
    import base64

    page, example = watched.page, tmp_path / "small.jpg"
    example.write_bytes(picture(96, format="JPEG", quality=10))
    zone = page.get_by_test_id("drop-zone")
    zone.evaluate(f"(zone, data) => ({DROP})([zone, data])", base64.b64encode(example.read_bytes()).decode())
    expect(page.get_by_test_id("diagnosis")).to_contain_text("quality about 10", timeout=WAIT)
    page.locator("#setting-num_epochs").evaluate("element => { element.closest('details').open = true; }")
    page.locator("#setting-num_epochs").fill("80")
    start(page)
    curve = page.get_by_test_id("plot").locator("path, polyline").first
    expect(curve).to_be_attached(timeout=WAIT)
    shapes, previews = set(), set()
    now = page.get_by_test_id("preview").locator("img").last
    finished = page.locator("#finished")
    while not finished.is_visible() and (len(shapes) < 3 or len(previews) < 2):
        shapes.add(page.get_by_test_id("plot").inner_html())
        previews.add(now.get_attribute("src"))
        page.wait_for_timeout(100)
    assert len(shapes) > 1
    assert len(previews) > 1
    expect(finished).to_be_visible(timeout=WAIT)
    expect(page.get_by_test_id("words")).to_contain_text("of the JPEG coefficients are the same again")
    divide = page.get_by_test_id("divide")
    before = page.get_by_test_id("stage").screenshot()
    divide.focus()
    for _ in range(20):
        divide.press("ArrowRight")
    assert page.get_by_test_id("stage").screenshot() != before
    with page.expect_download() as download:
        page.get_by_test_id("download-png").click()
    made = tmp_path / "page.png"
    download.value.save_as(made)
    command = [sys.executable, "-m", "zssr", example, "--num-epochs", "80", "-o", tmp_path / "command.png"]
    subprocess.run(command, check=True)
    assert made.read_bytes() == (tmp_path / "command.png").read_bytes()
    for kind, format in (("jpg", "JPEG"), ("webp", "WEBP")):
        with page.expect_download() as download:
            page.get_by_test_id(f"download-{kind}").click()
        download.value.save_as(tmp_path / f"page.{kind}")
        assert PIL.Image.open(tmp_path / f"page.{kind}").format == format
    for shown in ("residual", "spread"):
        page.locator(f"[name=shown][value={shown}]").check(force=True)
        page.wait_for_timeout(300)


def test_wheel_and_drag_move_both_pictures_together(watched: Watched) -> None:
    page = watched.page
    choose(page, picture(64), 0)
    start(page)
    expect(page.locator("#finished")).to_be_visible(timeout=WAIT)
    page.wait_for_timeout(300)
    moved = "[...document.querySelectorAll('[data-testid=stage] img')].map((image) => image.style.transform)"
    box = page.get_by_test_id("stage").bounding_box()
    assert box is not None
    seen = [page.evaluate(moved)]
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4)
    page.mouse.wheel(0, -900)
    page.wait_for_timeout(200)
    seen.append(page.evaluate(moved))
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5, steps=4)
    page.mouse.up()
    seen.append(page.evaluate(moved))
    assert all(len(set(transforms)) == 1 for transforms in seen)
    assert len({transforms[0] for transforms in seen}) == 3


def test_cancel_in_the_middle(watched: Watched) -> None:
    page = watched.page
    choose(page, picture(), 100_000)
    url = start(page)
    expect(page.get_by_test_id("cancel")).to_be_visible(timeout=WAIT)
    page.get_by_test_id("cancel").click()
    expect(page.get_by_test_id("drop-zone")).to_be_visible(timeout=WAIT)
    assert page.request.get(url.replace("/jobs/", "/api/v1/jobs/")).status == 404


def test_reload_in_the_middle(watched: Watched) -> None:
    page = watched.page
    choose(page, picture(seed=1), 400)
    url = start(page)
    expect(page.get_by_test_id("progress")).to_be_visible(timeout=WAIT)
    page.reload()
    assert page.url == url
    expect(page.locator("#finished")).to_be_visible(timeout=WAIT)
    expect(page.get_by_test_id("results-strip").locator("a").first).to_be_visible()


@pytest.mark.slow  # as the default tests have it without a browser
def test_restart_of_the_server_in_the_middle(browser: Browser, tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    context = browser.new_context()
    watched = Watched(context)
    try:
        watched.page.goto(server.url)
        choose(watched.page, picture(), 150)
        start(watched.page)
        expect(watched.page.get_by_test_id("progress")).to_be_visible(timeout=WAIT)
        server.stop(kill=True)
        expect(watched.page.locator("#trouble")).to_contain_text("onnection lost", timeout=WAIT)
        server = Server(tmp_path / "data", port=server.port)
        expect(watched.page.locator("#finished")).to_be_visible(timeout=2 * WAIT)
        watched.check()
    finally:
        context.close()
        server.stop()


def test_two_people_at_once(browser: Browser, watched: Watched, server: Server) -> None:
    context = browser.new_context()
    other = Watched(context)
    other.page.goto(server.url)
    for page, seed in ((watched.page, 5), (other.page, 6)):
        choose(page, picture(seed=seed))
    urls = [start(page) for page in (watched.page, other.page)]
    for page in (watched.page, other.page):
        expect(page.locator("#finished")).to_be_visible(timeout=WAIT)
    other.page.goto(urls[0])
    expect(other.page.get_by_test_id("error")).to_be_visible(timeout=WAIT)
    other.check()
    context.close()


def test_what_cannot_be_done_is_said(watched: Watched) -> None:
    page = watched.page
    page.get_by_test_id("file-input").set_input_files(
        [{"name": "a.txt", "mimeType": "text/plain", "buffer": b"hello"}]  # type: ignore[list-item]
    )
    expect(page.get_by_test_id("error")).to_contain_text(
        "not a picture that zssr reads", ignore_case=True, timeout=WAIT
    )
    stream = io.BytesIO()
    PIL.Image.effect_noise((1200, 1200), 90).save(stream, "PNG")
    page.get_by_test_id("file-input").set_input_files(
        [{"name": "a.png", "mimeType": "image/png", "buffer": stream.getvalue()}]  # type: ignore[list-item]
    )
    expect(page.get_by_test_id("error")).to_contain_text("MB")


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_nothing_is_wider_than_the_window(watched: Watched, width: int) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    for details in watched.page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
