"""Pages of a real sweep in a real browser: Debian's Chromium, driven by Playwright."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sweeps.reporting.binned import binned, binned_map
from sweeps.reporting.charts import Point
from sweeps.reporting.document import Report, Section, write_html
from sweeps.reporting.parallel import parallel_coordinates
from sweeps.space.language import read_space
from sweeps.space.spec_reader import read_spec
from sweeps.sweep import RunOptions, run_sweep
from tests.integration.conftest import SWEEPS
from trainer.metrics import Goal

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed; `apt-get install chromium`")
    # Chromium refuses to run as root with its sandbox; the pages are our own
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=arguments) as launched,
    ):
        yield launched


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page on which no error may be logged."""
    errors: list[str] = []
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        made = context.new_page()
        made.set_default_timeout(PATIENCE_MS)
        made.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        made.on("pageerror", lambda error: errors.append(str(error)))
        yield made
    assert errors == []


@pytest.fixture
def runs(space: Callable[..., Path], tmp_path: Path) -> Path:
    """The folder of a sweep of three trials."""
    spec = read_spec(space(description="Which network learns <digits>?"))
    run_sweep(spec, RunOptions(runs=tmp_path / "runs", address=None))
    return tmp_path / "runs"


@pytest.fixture
def dashboard(runs: Path) -> Iterator[str]:
    """The address of the dashboard."""
    with subprocess.Popen(
        [SWEEPS, "dashboard", "--port", "0", "--runs", runs],
        env=os.environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


def test_the_dashboard_shows_the_trials_of_a_sweep(page: Page, dashboard: str):
    page.goto(dashboard)
    page.get_by_role("link", name="small").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("valid/f1 of each fold")).to_be_visible(timeout=PATIENCE_MS)
    page.goto(f"{page.url}/trials?numbers=2")
    expect(page.get_by_text("Trial 2").first).to_be_visible(timeout=PATIENCE_MS)
    for name in ("curves.svg", "confusion.svg"):
        picture = page.get_by_role("img", name=name)
        expect(picture).to_be_visible(timeout=PATIENCE_MS)
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")


def test_the_report_is_one_page_on_which_a_trial_lights_up_everywhere(page: Page, runs: Path):
    subprocess.run([SWEEPS, "report", "--runs", runs], env=os.environ, check=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    address = (runs / "small/report.html").as_uri()
    page.goto(address)
    assert asked == [address]
    expect(page.get_by_role("heading", name="small", exact=True)).to_be_visible()
    expect(page.get_by_text("Which network learns <digits>?").first).to_be_visible()
    for chart in ("Best so far", "Leaderboard", "Parallel coordinates", "Learning curves"):
        expect(page.get_by_role("heading", name=chart, exact=True)).to_be_visible()
    lit = page.locator(".on")
    expect(lit).to_have_count(0)
    row = page.locator("tr[data-t]").first
    row.hover()
    trial = row.get_attribute("data-t")
    assert lit.count() == page.locator(f'[data-t="{trial}"]').count() > 5
    (others,) = {mark.get_attribute("data-t") for mark in lit.all()}
    assert others == trial


def test_a_cell_of_a_map_lights_its_trials_and_hides_with_them(page: Page, tmp_path: Path):
    space, _ = read_space({name: {"min": 0.0, "max": 1.0} for name in ("a", "b")})
    points = [
        Point(number, number / 24, True, 9.0, (0.5,), {"a": number % 2, "b": number % 3 / 2})
        for number in range(24)
    ]
    cells = binned(points, space["a"], space["b"])
    assert cells is not None
    metric, goal = "valid/f1", Goal.MAXIMIZE
    charts = (
        binned_map(cells, metric=metric, goal=goal),
        parallel_coordinates(points, space.varying(), metric=metric, goal=goal),
    )
    section = Section("parameters", "Parameters", charts=charts)
    write_html(Report("made", "", (), (section,)), tmp_path / "report.html")
    page.goto((tmp_path / "report.html").as_uri())
    cell = page.locator("rect.cell").first
    cell.hover(position={"x": 3, "y": 3})
    inside = set((cell.get_attribute("data-t") or "").split())
    assert len(inside) > 2
    lines = page.locator("path[data-t].on")
    assert {line.get_attribute("data-t") for line in lines.all()} == inside
    # the other way round
    line = page.locator(f'path[data-t="{max(inside)}"]')
    line.dispatch_event("pointerover")
    expect(lines).to_have_count(1)
    expect(page.locator("rect.cell.on")).to_have_count(1)
    # keep the trials with the greatest value of the second parameter
    axis = page.locator("[data-axis]").nth(1)
    box = axis.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
    page.mouse.up()
    expect(page.locator("path[data-t].off")).to_have_count(16)
    # a cell stays while one of its trials does: 0.5 and 1 share the upper row
    kept = page.locator("rect.cell:not(.off)")
    numbers = " ".join(mark.get_attribute("data-t") or "" for mark in kept.all()).split()
    assert sorted(map(int, numbers)) == [number for number in range(24) if number % 3]
