"""The page as a reader meets it, in a real browser, from a file."""

import json
from contextlib import contextmanager

import pytest
from runs import write_answered, write_run

from lightning_ntm.report import write_report


@contextmanager
def opened(chromium, page, **context):
    """Open the page; afterwards, check that it asked for nothing and that no script failed."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    seen, failures = [], []
    tab = context.new_page()
    tab.on("request", lambda request: seen.append(request.url))
    tab.on("pageerror", lambda error: failures.append(str(error)))
    tab.on("dialog", lambda dialog: failures.append(dialog.message))
    tab.goto(page.as_uri())
    yield tab
    assert seen == [page.as_uri()]
    assert failures == []
    context.close()


def plot(tab, split="validation", *, each=False):
    return tab.locator(f'{"#cost .grid" if each else "#cost .pair"} .plot[data-split="{split}"]:visible').first


def end_of(tab, curve, share):
    """Return where on the screen a point of a drawn curve is: 0 its begin, 1 its end."""
    return curve.locator("path").evaluate(
        """(path, share) => {
             path.closest("svg").scrollIntoView({block: "center"});
             const at = path.getPointAtLength(share * path.getTotalLength()).matrixTransform(path.getScreenCTM());
             return [at.x, at.y];
           }""",
        share,
    )


def validation(trained, name):
    rows = [json.loads(line) for line in (trained / name / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "validation_wrong_bits" in row]


def numbers(trained):
    """Runs by their number on the page: in the order of their names."""
    return {name: str(number) for number, name in enumerate(sorted(p.name for p in trained.glob("*-copy-*")))}


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_curve_says_its_seed_and_value(trained, page, chromium, scale):
    with opened(chromium, page) as tab:
        tab.locator(f"label[for={scale}]").click()
        for name, number in numbers(trained).items():
            tab.mouse.move(0, 0)
            shown = tab.locator(f'#cost .grid .plot[data-runs~="{number}"]:visible')
            tab.mouse.move(*end_of(tab, shown.locator(f'[data-run="{number}"]'), 0))
            first = validation(trained, name)[0]
            network, seed = name.split("-copy-seed")
            value = float(f"{first['validation_wrong_bits']:.4g}")
            expected = f"{network.upper()}, seed {seed}\nstep {first['step']}: {value:g} wrong bits"
            assert tab.locator("#tip").inner_text() == expected
        tab.mouse.move(0, 0)
        assert tab.locator("#tip").is_hidden()


def test_the_end_of_a_training_curve_in_the_other_measure(trained, page, chromium):
    with opened(chromium, page) as tab:
        tab.locator("label[for=measure-bits-per-sequence]").click()
        worst = plot(tab, "train").locator('[data-run="0"]')
        tab.mouse.move(*end_of(tab, worst, 1))
        said = tab.locator("#tip").inner_text()
        assert said.startswith("LSTM, seed ")
        assert said.endswith(" bits per sequence")
        assert "\nstep 80: " in said


def test_a_seed_is_picked_out_and_let_go(page, chromium):
    with opened(chromium, page) as tab:
        faint = plot(tab).locator('[data-run="0"] path')
        before = faint.evaluate("path => getComputedStyle(path).strokeOpacity")
        tab.locator(".pick summary").click()
        button = tab.locator(".seeds button").first
        button.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
        run = button.get_attribute("data-run")
        opacity = {
            number: plot(tab).locator(f'[data-run="{number}"] path').evaluate("p => getComputedStyle(p).strokeOpacity")
            for number in map(str, range(6))
        }
        assert opacity.pop(run) == "1"
        assert set(opacity.values()) == {"0.05"}
        name = tab.locator(".seeds button").first.get_attribute("title").split("-")[0].upper()
        assert tab.locator(".pick output").inner_text() == f"{name}, seed 1"
        tab.keyboard.press("Escape")
        assert button.get_attribute("aria-pressed") == "false"
        assert faint.evaluate("path => getComputedStyle(path).strokeOpacity") == before


def test_a_click_on_a_curve_picks_it(trained, page, chromium):
    with opened(chromium, page) as tab:
        number = numbers(trained)["lstm-copy-seed2"]
        shown = tab.locator(f'#cost .grid .plot[data-runs~="{number}"]:visible')
        tab.mouse.click(*end_of(tab, shown.locator(f'[data-run="{number}"]'), 0))
        assert tab.locator(f'.seeds button[data-run="{number}"]').get_attribute("aria-pressed") == "true"
        assert tab.locator(f'#runs tr[data-run="{number}"]').get_attribute("class") == "picked"


def test_the_keyboard_walks_along_a_curve(trained, page, chromium):
    with opened(chromium, page) as tab:
        plot(tab).locator("svg").focus()
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowRight")
        second = validation(trained, "lstm-copy-seed1")[1]
        value = float(f"{second['validation_wrong_bits']:.4g}")
        assert tab.locator("#tip").inner_text() == f"LSTM, seed 1\nstep {second['step']}: {value:g} wrong bits"
        tab.keyboard.press("ArrowDown")
        assert tab.locator("#tip").inner_text().startswith("LSTM, seed 2")
        tab.keyboard.press("Enter")
        assert tab.locator(".pick output").inner_text() == "LSTM, seed 2"


@pytest.mark.parametrize("script", [True, False])
def test_measure_and_axis_are_switched_without_javascript_too(page, chromium, script):
    with opened(chromium, page, java_script_enabled=script) as tab:
        for measure in ("wrong-bits", "bits-per-sequence"):
            for scale in ("linear", "log"):
                tab.locator(f"label[for=measure-{measure}]").click()
                tab.locator(f"label[for={scale}]").click()
                shown = tab.locator("#cost .pair .plot:visible")
                assert shown.count() == 2
                for place in range(2):
                    assert shown.nth(place).get_attribute("data-measure") == measure.replace("-", "_")
                    assert shown.nth(place).get_attribute("data-scale") == scale
        assert plot(tab).locator(".run path").count() == 6
        assert tab.locator("#success table").first.is_visible()
        assert tab.locator(".pick").is_visible() == script


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_share_is_shown_whatever_axis_is_chosen_and_says_its_words(tmp_path, chromium, scale):
    write_answered(tmp_path / "a", "symbols", [8.0, 4.0])
    with opened(chromium, write_report([tmp_path])[0]) as tab:
        tab.locator("label[for=measure-accuracy]").click()
        tab.locator(f"label[for={scale}]").click()
        shown = tab.locator("#cost .plot:visible")
        assert [one.get_attribute("data-measure") for one in shown.all()] == ["accuracy", "accuracy"]
        tab.mouse.move(*end_of(tab, plot(tab, each=True).locator(".run"), 1))
        assert tab.locator("#tip").inner_text() == "NTM, seed 1\nstep 200: 0.6 accuracy"


def test_dark_where_the_reader_wants_it(page, chromium):
    told = {}
    for scheme in ("light", "dark"):
        with opened(chromium, page, color_scheme=scheme) as tab:
            colors = "b => [getComputedStyle(b).backgroundColor, getComputedStyle(b.querySelector('svg text')).fill]"
            told[scheme] = tab.locator("body").evaluate(colors)
    for scheme, (paper, ink) in told.items():
        bright = {name: sum(map(int, color[4:-1].split(","))) for name, color in (("paper", paper), ("ink", ink))}
        assert (bright["paper"] > bright["ink"]) == (scheme == "light")


def test_on_a_phone_nothing_sticks_out(page, chromium):
    with opened(chromium, page, viewport={"width": 360, "height": 700}, has_touch=True) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        svg = plot(tab).locator("svg").bounding_box()
        assert 300 < svg["width"] <= 360


def test_printed_it_has_figures_and_tables_but_no_switches(page, chromium):
    with opened(chromium, page) as tab:
        tab.emulate_media(media="print")
        assert tab.locator(".controls").is_hidden()
        assert plot(tab).is_visible()
        folded = tab.locator("#configuration details table").first
        assert folded.is_visible(), "what is folded up on the screen is printed"
        assert tab.pdf().startswith(b"%PDF")
        tab.emulate_media(media="screen")
        assert folded.is_hidden()


def test_a_wide_table_shows_that_it_scrolls(page, chromium):
    with opened(chromium, page, viewport={"width": 500, "height": 800}) as tab:
        wide = tab.locator("#runs .scroll").first
        assert wide.evaluate("table => table.scrollWidth > table.clientWidth")
        assert wide.evaluate("table => getComputedStyle(table).backgroundAttachment") == "local, local, scroll, scroll"


def test_hostile_words_stay_words(tmp_path, chromium):
    evil = "<img src=x onerror=alert(1)>"
    run = write_run(tmp_path / evil, model=f"my.{evil}", result=False)
    (run / "failed.json").write_text(
        json.dumps({"attempts": 1, "message": f"</script><script>alert(2)</script>{evil}"})
    )
    with opened(chromium, write_report([tmp_path])[0]) as tab:
        assert tab.locator("img").count() == 0
        tab.mouse.move(*end_of(tab, plot(tab, each=True).locator(".run"), 0))
        assert tab.locator("#tip").inner_text().startswith("<img")
