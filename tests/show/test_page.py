"""The page in a real browser: it loads without a complaint, it steps, it shows the violation, and names stay names."""

import json
import time

import pytest
from browser import CHROMIUM, Browser
from show_tools import HANDFUL, found, hostile, sequential

from anonvma_rt.cli import main
from anonvma_rt.show.html import html_page
from anonvma_rt.show.story import counterpart, story_of

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this host (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def browser():
    with Browser() as one:
        yield one


def written(one, path):
    other = counterpart(one)
    path.write_text(html_page(story_of(one), story_of(one, other) if other else None), "utf-8")
    return path


def text(browser, selector):
    return browser.run(f"document.querySelector({selector!r}).innerText")


def step(browser):
    return browser.run("Number(document.getElementById('step').value)")


def test_the_page_of_2011_loads_steps_and_shows_the_violation(browser, tmp_path, capsys):
    path = found("lkml-2011", "unpatched").save(tmp_path / "one.json")
    page = tmp_path / "page.html"
    assert main(["show", str(path), "--html", str(page)]) == 0
    capsys.readouterr()
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page)
    assert browser.errors == []
    assert browser.requests == [f"file://{page}"], "nothing is fetched but the page"
    assert text(browser, "h1") == "lkml-2011 under unpatched: stale-migration-entry"
    assert "for ever" in text(browser, "#why")
    assert [text(browser, f"#name{i}").split()[0] for i in (0, 1)] == ["unpatched", "moveto-tail"]
    # It opens at the look that missed the entry: the entry is at A+8 already, and the walker stands at B.
    miss = step(browser)
    assert "looks at B+0: none" in text(browser, "#live")
    assert "migration, page 9" in text(browser, ".side .cell.missed")
    assert text(browser, ".side .chip.at").startswith("B")
    browser.key("v")
    assert "Violation: stale-migration-entry" in text(browser, "#live")
    assert "STALE, page 9" in text(browser, ".side .cell.stale")
    assert browser.run("document.querySelectorAll('.side')[1].querySelectorAll('.stale').length") == 0
    browser.key("m")
    assert step(browser) == miss
    browser.key("ArrowLeft")
    assert step(browser) == miss - 1
    browser.key("ArrowRight")
    assert step(browser) == miss
    browser.key("Home")
    assert step(browser) == 0 and "before the first step" in text(browser, "#live")
    story = story_of(found("lkml-2011", "unpatched"))
    for _, first, _ in story.schedule.runs()[1:]:
        browser.key("n")
        assert step(browser) == first
    browser.key("d")
    differs = step(browser)
    assert differs == story.first_difference(
        story_of(found("lkml-2011", "unpatched"), counterpart(found("lkml-2011", "unpatched")))
    )
    assert browser.errors == []


def test_every_step_shows_the_state_that_the_execution_had(browser, tmp_path):
    one = found("lkml-2011", "unpatched")
    story = story_of(one)
    browser.open(written(one, tmp_path / "page.html"))
    for at in [0, *range(1, story.end, 7), story.end, story.end // 2]:
        browser.run(f"go({at})")
        shown = browser.run(
            "Object.fromEntries(Object.entries(sides[0].state).filter(([name, value]) => value != null))"
        )
        state = {name: value for name, value in shown.items() if not name.startswith("walker:")}
        assert state == json.loads(json.dumps({str(key): value for key, value in story.scenes.at(at).items()}))


@pytest.mark.parametrize(("scenario", "algorithm"), HANDFUL)
def test_every_page_of_the_handful_loads_and_shows_its_violation(browser, tmp_path, scenario, algorithm):
    one = found(scenario, algorithm)
    browser.errors.clear()
    browser.open(written(one, tmp_path / "page.html"))
    browser.key("v")
    assert f"Violation: {one.kind}" in text(browser, "#live")
    browser.key("Home")
    for _ in range(3):
        browser.key("ArrowRight")
    assert step(browser) == 3
    assert browser.errors == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1024, 390])
def test_nothing_hangs_over_the_edge_and_everything_can_be_read(browser, tmp_path, width, dark):
    browser.open(written(found("lkml-2011", "unpatched"), tmp_path / "page.html"), width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    sides = browser.run("[...document.querySelectorAll('.side')].map((side) => side.getBoundingClientRect().top)")
    assert (sides[0] == sides[1]) == (width == 1024), "side by side, or on a phone one below the other"
    # Contrast of texts on what is behind them, as WCAG 2 computes it: at least 4.5.
    contrasts = browser.run(CONTRAST)
    assert contrasts and min(value for _, value in contrasts) >= 4.5, sorted(contrasts, key=lambda one: one[1])[:3]
    bright = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert bright == (not dark)


def test_a_screen_reader_finds_names_for_everything_and_hears_each_step(browser, tmp_path):
    browser.open(written(found("lkml-2011", "unpatched"), tmp_path / "page.html"))
    found_names = browser.names()
    buttons = {name for role, name in found_names if role == "button"}
    assert {
        "Start",
        "Step",
        "Step back",
        "Next hand-off",
        "To the violation",
        "To the miss",
        "First difference",
    } <= buttons
    assert ("slider", "Step") in found_names
    assert all(name for role, name in found_names if role in ("button", "slider", "image", "navigation", "region"))
    assert any(role == "image" and name.startswith("Timeline of unpatched: migrate 1 to") for role, name in found_names)
    assert browser.run("document.getElementById('live').getAttribute('aria-live')") == "polite"
    browser.key("ArrowRight")
    assert browser.run("document.getElementById('step').getAttribute('aria-valuetext')").startswith(
        f"step {step(browser)}: "
    )
    # Everything that can be used is reached by the tab key.
    assert browser.run("[...document.querySelectorAll('button, input')].every((one) => one.tabIndex === 0)")


def test_hostile_names_do_nothing_in_the_page(browser, tmp_path):
    story = hostile(story_of(found("lkml-2011", "unpatched")))
    path = tmp_path / "page.html"
    path.write_text(html_page(story, story), "utf-8")
    browser.errors.clear()
    browser.requests.clear()
    browser.open(path)
    browser.key("v")
    browser.key("ArrowLeft")
    assert "alert(2)" in text(browser, "h1")
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.errors == [] and browser.requests == [f"file://{path}"]


def test_two_thousand_steps_are_small_and_quick(browser, tmp_path):
    one, path = sequential(950), tmp_path / "long.html"
    assert one.steps >= 2000

    def write(one):
        """Seconds that its page takes, of the processor."""
        begun = time.process_time()
        path.write_text(html_page(story_of(one), story_of(one, one.program().choose("rmap-locks"))), "utf-8")
        return time.process_time() - begun

    assert min(write(one) for _ in range(3)) < 8 * min(write(sequential(476)) for _ in range(3)), "worse than quadratic"
    write(one)
    assert path.stat().st_size < 2_000_000
    browser.errors.clear()
    browser.open(path)
    took = browser.run(
        "(() => { const begun = performance.now(); draw(); for (let i = 0; i < 20; i++) go(100 * i);"
        " return performance.now() - begun; })()"
    )
    assert took < 1000 * 5, "a drawing and twenty long jumps; a second on an idle machine"
    assert browser.errors == []


CONTRAST = """
(() => {
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map((c) => linear(c / 255))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = "h1, h2, h3, p, button, .chip, .cell, .cell b, li span, li b, td, th, .badge, .who";
  return [...document.querySelectorAll(texts)]
    .filter((node) => node.textContent.trim() && !node.hidden).map((node) => {
      const [one, two] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
      return [node.textContent.slice(0, 30), (one + 0.05) / (two + 0.05)];
    });
})()
"""
