"""The page in a browser: what a reader does, and what they see."""

import copy
import re
from contextlib import contextmanager

import pytest
import torch

from lightning_ntm import DNC, LSTM, NTM, SAM, SDNC, Copy, StackRNN, TapeRNN, explore, open_run
from lightning_ntm.models import DNCMemory
from lightning_ntm.tasks import AssociativeRecall, ReverseString
from lightning_ntm.tasks.formal import MissingDuplicate, StackManipulation
from lightning_ntm.zoo import names

SMALL = {"hidden_size": 6, "memory_slots": 12, "memory_width": 4}
TASK = Copy(bits=3, max_length=4)
PAGES = {
    "ntm": lambda: explore(NTM(4, 3, **SMALL), TASK),
    "feedforward": lambda: explore(NTM(4, 3, **SMALL, controller="feedforward", num_write_heads=2), TASK),
    "lstm": lambda: explore(LSTM(4, 3, hidden_size=6, num_layers=2), TASK),
    "dnc": lambda: explore(DNC(4, 3, **SMALL), TASK),
    "stack": lambda: explore(StackRNN(4, 3, hidden_size=6, memory_slots=12, memory_width=4), TASK),
    "tape": lambda: explore(TapeRNN(4, 3, hidden_size=6, memory_slots=12, memory_width=4, num_tapes=2), TASK),
    "sam": lambda: explore(SAM(4, 3, **SMALL), TASK),
    "sdnc": lambda: explore(SDNC(4, 3, **SMALL, num_read_heads=2), TASK),
    "recorded": lambda: explore(NTM(4, 3, hidden_size=6, memory=DNCMemory(12, 4)), TASK),
    "mixed pair": lambda: explore(NTM(4, 3, **SMALL), TASK, beside=NTM(4, 3, hidden_size=6, memory=DNCMemory(12, 4))),
    "pair": lambda: explore(NTM(4, 3, **SMALL), TASK, beside=LSTM(4, 3, hidden_size=6)),
    "symbols": lambda: explore(NTM(3, 2, **SMALL), ReverseString(max_length=6)),
    "recall": lambda: explore(NTM(5, 3, **SMALL), AssociativeRecall(bits=3, item_length=2, max_items=3)),
    "stack task": lambda: explore(NTM(6, 3, **SMALL), StackManipulation(max_length=6)),
    "other": lambda: explore(NTM(5, 2, **SMALL), MissingDuplicate(max_length=6)),
    "no task": lambda: explore(NTM(3, 2, **SMALL)),
    "wrong": None,
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder, written = tmp_path_factory.mktemp("pages"), {}
    torch.manual_seed(0)
    for name, make in PAGES.items():
        if make:
            written[name] = folder / f"{name}.html"
            make().save(written[name])
    network = (written["ntm"]).read_text(encoding="utf-8")
    written["wrong"] = folder / "wrong.html"
    written["wrong"].write_text(network.replace("sigmoid(gates[i])", "sigmoid(-gates[i])"), encoding="utf-8")
    return written


@contextmanager
def opened(chromium, page, address="", **context):
    """Open the page; afterwards, check that it asked for nothing and that no script failed."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    seen, failures = [], []
    tab = context.new_page()
    tab.on("request", lambda request: seen.append(request.url))
    tab.on("pageerror", lambda error: failures.append(str(error)))
    tab.on("console", lambda message: failures.append(message.text))
    tab.goto(page.as_uri() + address)
    yield tab
    assert len(seen) == 1
    assert failures == []
    context.close()


#: Waits for what is drawn in the next picture, and for the address that follows it.
SETTLED = """new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 250)));
})"""


def address(tab):
    for frame in tab.frames:
        frame.evaluate(SETTLED)
    return tab.evaluate("location.hash")


def colors(tab, selector):
    """The colours of a canvas, as one text."""
    return tab.locator(selector).evaluate("canvas => canvas.toDataURL()")


@pytest.mark.parametrize("name", [name for name in PAGES if name not in ("recorded", "pair", "mixed pair", "wrong")])
def test_the_page_runs_the_network_and_agrees_with_pytorch(name, pages, chromium):
    with opened(chromium, pages[name]) as tab:
        told = tab.locator("#check").inner_text()
        assert float(re.search(r"largest difference of a logit is (\S+)\.$", told)[1]) < 1e-5
        assert tab.locator("#panels canvas").count() >= 2


OUTPUTS = """() => {
  const { network, answer, samples } = JSON.parse(document.getElementById("data").textContent);
  const opened = NETWORK.opened(network);
  return samples.map(({ label, arrays }) => {
    const inputs = NETWORK.unpacked(arrays.inputs), { logits } = NETWORK.run(opened, inputs);
    const outputs = EPISODES.shown(answer, logits);
    return [label, inputs.shape, Array.from(inputs.data), Array.from(outputs.data)];
  });
}"""


#: Networks that amplify what float32 rounds: by how much float32 differs from float64 in Python.
ROUGH = {"copy-dnc": 2e-4, "sort": 2e-4, "copy-series": 0.1}


@pytest.mark.parametrize("name", names())
def test_networks_of_the_package_answer_in_the_page_as_in_pytorch(name, tmp_path, chromium):
    explore(name).save(tmp_path / "page.html")
    run = open_run(name)
    single, double = run.model, copy.deepcopy(run.model).double()
    with opened(chromium, tmp_path / "page.html") as tab, torch.no_grad():
        for label, shape, inputs, outputs in tab.evaluate(OUTPUTS):
            x = torch.tensor(inputs).reshape(1, *shape)
            expected = [run.task.answer.shown(model(x.to(dtype))[0]).flatten().double()
                        for model, dtype in ((double, torch.float64), (single, torch.float32))]  # fmt: skip
            found = torch.tensor(outputs, dtype=torch.float64)
            torch.testing.assert_close(found, expected[0], rtol=0, atol=1e-6, msg=label)
            if label.startswith("as in training"):  # beyond, networks that fail amplify rounding without a bound
                torch.testing.assert_close(found, expected[1], rtol=0, atol=ROUGH.get(name, 1e-5), msg=label)
        assert not tab.locator("#check.warning").count()
        named = bool(run.task.answer_names)
        assert tab.locator("#symbols").inner_text().startswith("In this step: input ") == named


def test_the_page_says_when_it_does_not_agree(pages, chromium):
    with opened(chromium, pages["wrong"]) as tab:
        assert "differ from those of PyTorch" in tab.locator("#check.warning").inner_text()


def expect(locator):
    """Playwright's, which waits; imported where there is a browser."""
    from playwright.sync_api import expect

    return expect(locator)


def test_keys_move_through_time_and_the_address_keeps_it(pages, chromium):
    with opened(chromium, pages["ntm"]) as tab:
        assert tab.locator("#when").inner_text() == "step 0 of 8"
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowRight")
        expect(tab.locator("#when")).to_have_text("step 2 of 8")
        tab.keyboard.press("End")
        expect(tab.locator("#when")).to_have_text("step 8 of 8")
        kept, verdict = address(tab), tab.locator("#verdict").inner_text()
        output = colors(tab, "#panels figure:nth-child(3) canvas")
    with opened(chromium, pages["ntm"], kept) as tab:
        assert tab.locator("#when").inner_text() == "step 8 of 8"
        assert tab.locator("#verdict").inner_text() == verdict
        assert colors(tab, "#panels figure:nth-child(3) canvas") == output


def test_an_input_is_changed_by_click_and_by_key(pages, chromium):
    with opened(chromium, pages["ntm"], "#i=000.000&r=1") as tab:
        box = tab.locator("#inputs").bounding_box()
        tab.mouse.click(box["x"] + 0.5 * box["width"] / 5, box["y"] + 1.5 * box["height"] / 4)  # step 0, bit 1
        assert "i=010.000" in address(tab)
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("Enter")  # step 1, bit 2
        tab.keyboard.press("0")
        assert "i=010.101" in address(tab)
        assert (
            "of 6 bits wrong" in tab.locator("#verdict").inner_text() or "All 6" in tab.locator("#verdict").inner_text()
        )


def test_a_symbol_is_chosen_by_its_key(pages, chromium):
    with opened(chromium, pages["symbols"], "#i=0.0.0&t=1") as tab:
        tab.locator("#inputs").focus()
        tab.keyboard.press("1")
        assert "i=0.1.0" in address(tab)


def test_an_item_of_recall_is_drawn_and_asked_for(pages, chromium):
    with opened(chromium, pages["recall"], "#i=000.000.010.110.111.001&r=1&t=1") as tab:
        target = "#panels figure:nth-child(2) canvas"
        before, sliders = colors(tab, target), tab.locator("#episode input[type=range]")
        assert [sliders.nth(number).input_value() for number in range(2)] == ["3", "1"]
        tab.locator("#inputs").focus()
        tab.keyboard.press("1")
        assert "i=010.000.010.110.111.001" in address(tab)
        assert colors(tab, target) == before
        sliders.nth(1).focus()
        tab.keyboard.press("ArrowRight")  # the item after the second one is the answer now
        assert "&r=2" in address(tab)
        assert colors(tab, target) != before
        sliders.nth(0).focus()
        tab.keyboard.press("ArrowLeft")
        assert "i=010.000.010.110&r=1" in address(tab)
        assert tab.locator("#when").inner_text() == "step 1 of 11"
        assert (
            "of 6 bits wrong" in tab.locator("#verdict").inner_text() or "All 6" in tab.locator("#verdict").inner_text()
        )


def test_a_string_stays_one_of_the_task(pages, chromium):
    with opened(chromium, pages["stack task"], "#i=0.1.1.3.2.2&t=1") as tab:
        assert (
            "of 3 symbols wrong" in tab.locator("#verdict").inner_text()
            or "right" in tab.locator("#verdict").inner_text()
        )
        tab.locator("#inputs").focus()
        tab.keyboard.press("4")  # actions come after the bits
        assert "i=0.1.1.3.2.2" in address(tab)
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("4")
        assert "i=0.1.4.3.2.2" in address(tab)
        assert "of 3 symbols" in tab.locator("#verdict").inner_text() or "All 3" in tab.locator("#verdict").inner_text()
        tab.locator("#episode input[type=range]").first.focus()
        tab.keyboard.press("ArrowRight")
        assert re.search(r"i=0\.1\.4\.3\.2\.2\.[234]&", address(tab))
    with opened(chromium, pages["stack task"], "#i=2.1.1") as tab:  # no string of the task
        assert "i=2.1.1" not in address(tab)


def test_a_changed_input_of_another_task_has_no_target(pages, chromium):
    with opened(chromium, pages["other"], "#e=0&t=0") as tab:
        assert re.fullmatch("The symbol is (wrong|right)", tab.locator("#verdict").inner_text())
        tab.locator("#inputs").focus()
        for key in ("0", "1"):
            tab.keyboard.press(key)
        changed = [key for key in ("0", "1") if "f=" in address(tab) or tab.keyboard.press(key)]
        assert changed
        assert tab.locator("#verdict").inner_text().startswith("The target of a changed input is not known.")
        tab.get_by_text("undo inputs").click()
        assert "f=" not in address(tab)


def test_length_and_random_inputs(pages, chromium):
    with opened(chromium, pages["ntm"]) as tab:
        length = tab.locator("#episode input[type=range]").first
        length.focus()
        tab.keyboard.press("ArrowRight")
        assert len(re.search(r"i=([01.]+)", address(tab))[1].split(".")) == 5
        before = address(tab)
        tab.locator("#random").click()
        assert address(tab) != before
        assert tab.locator("#when").inner_text() == "step 0 of 10"


def test_the_slider_shows_the_length_of_the_chosen_episode(pages, chromium):
    with opened(chromium, pages["ntm"]) as tab:
        slider, shown = tab.locator("#episode input[type=range]").first, set()
        for number in range(tab.locator("#sample option").count() - 1):
            tab.locator("#sample").select_option(str(number))
            steps = int(re.search(r"of (\d+)$", tab.locator("#when").inner_text())[1])
            assert int(tab.locator("#episode output").first.inner_text()) == steps // 2
            shown.add(slider.input_value())
        assert len(shown) > 1


def test_what_a_head_emits_is_changed_and_changed_back(pages, chromium):
    with opened(chromium, pages["ntm"], "#i=010.110.001&r=1&t=1") as tab:
        output = colors(tab, "#panels figure:nth-child(3) canvas")
        gate = tab.get_by_label("gate of write head 1")
        gate.focus()
        tab.keyboard.press("End")
        assert "c=1_1_gate_1" in address(tab)
        assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == "gate of write head 1"
        assert "with 1 step changed" in tab.locator("#verdict").inner_text()
        tab.get_by_text("undo changes").click()
        assert "c=" not in address(tab)
        assert colors(tab, "#panels figure:nth-child(3) canvas") == output


def test_a_slot_says_which_steps_wrote_and_read_it(pages, chromium):
    with opened(chromium, pages["ntm"]) as tab:
        memory = tab.get_by_label("memory: slots by width")
        memory.hover()
        said = tab.locator("#slot").inner_text()
        assert re.fullmatch(r"Slot \d+: written in steps [\d., ()a-z]+; read in steps [\d., ()a-z]+\.", said)


def test_it_plays(pages, chromium):
    with opened(chromium, pages["ntm"]) as tab:
        tab.locator("#speed").select_option("60")
        tab.locator("#play").click()
        expect(tab.locator("#when")).to_have_text("step 8 of 8")
        assert tab.locator("#play").inner_text() == "Play"


def test_the_memory_of_a_dnc_is_shown(pages, chromium):
    with opened(chromium, pages["dnc"], "#i=000.101&r=1&t=2") as tab:
        captions = tab.locator("#panels figcaption").all_inner_texts()
        for shown in ("Write weighting", "Usage", "Allocation weighting", "Forward weighting", "Read modes"):
            assert any(caption.startswith(shown) for caption in captions), shown
        links = colors(tab, "canvas[aria-label=Links]")
        tab.keyboard.press("End")
        expect(tab.locator("#when")).to_have_text("step 4 of 4")
        assert colors(tab, "canvas[aria-label=Links]") != links


@pytest.mark.parametrize(("name", "modes"), [("sam", 0), ("sdnc", 2)])
def test_a_sparse_memory_is_shown(name, modes, pages, chromium):
    with opened(chromium, pages[name], "#i=000.101&r=1&t=2") as tab:
        captions = tab.locator("#panels figcaption span:first-child").all_inner_texts()
        assert captions[3] == "Write weighting"
        assert "Write gate above, reuse gate below" in captions
        assert sum(caption.startswith("Read weighting") for caption in captions) == max(1, modes)
        assert sum(caption.startswith("Read modes") for caption in captions) == modes
        parts = tab.locator("#step .strips > span").all_inner_texts()
        assert {"Reuse gate", "Added", "Read", "Hidden units"} - {*parts} == set()
        before = colors(tab, "#panels figure:nth-child(4) canvas")
        tab.locator("#inputs").focus()
        tab.keyboard.press("ArrowLeft")
        tab.keyboard.press("1")
        assert "i=000.111" in address(tab)
        assert colors(tab, "#panels figure:nth-child(4) canvas") != before


def test_two_pages_show_the_same_step_of_the_same_episode(pages, chromium):
    with opened(chromium, pages["pair"], "#t=1&i=000.101&r=1") as tab:
        first, second = tab.frame_locator("iframe >> nth=0"), tab.frame_locator("iframe >> nth=1")
        for page in (first, second):
            expect(page.locator("#when")).to_have_text("step 1 of 4")
        tab.keyboard.press("Shift")  # gives the first page the keys, if it has not got them
        tab.keyboard.press("ArrowRight")
        expect(second.locator("#when")).to_have_text("step 2 of 4")
        second.locator("#inputs").focus()
        tab.keyboard.press("1")
        expect(first.locator("#when")).to_have_text("step 2 of 4")
        assert "t=2&i=000.101" in address(tab)  # the step of the delimiter has no bits to change
        second.locator("#back").click()
        second.locator("#inputs").focus()
        tab.keyboard.press("1")
        assert "t=1&i=000.111" in address(tab)
        for _ in range(4):  # one in 64 random episodes is the same
            second.locator("#random").click()
            expect(first.locator("#when")).to_have_text("step 0 of 4")
            if "i=000.111" not in address(tab):
                break
        assert "i=000.111" not in address(tab)
        assert first.locator("#episode input").first.input_value() == "2"


def test_the_address_of_a_pair_keeps_what_each_page_has_alone(pages, chromium):
    with opened(chromium, pages["pair"], "#t=1&i=000.101&r=1") as tab:
        first, second = tab.frame_locator("iframe >> nth=0"), tab.frame_locator("iframe >> nth=1")
        expect(second.locator("#when")).to_have_text("step 1 of 4")
        first.get_by_label("gate of write head 1").focus()
        tab.keyboard.press("End")
        kept = address(tab)
        assert kept == "#t=1&i=000.101&r=1/c=1_1_gate_1"
        verdict = first.locator("#verdict").inner_text()
        assert "with 1 step changed" in verdict
    with opened(chromium, pages["pair"], kept) as tab:
        first, second = tab.frame_locator("iframe >> nth=0"), tab.frame_locator("iframe >> nth=1")
        expect(first.locator("#verdict")).to_have_text(verdict)
        assert "changed" not in second.locator("#verdict").inner_text()
        assert address(tab) == kept
        tab.evaluate("location.hash = '#t=2&i=000.101&r=1'")
        expect(second.locator("#when")).to_have_text("step 2 of 4")
        expect(first.locator("#verdict")).not_to_contain_text("changed")
        assert address(tab) == "#t=2&i=000.101&r=1"


def test_two_networks_side_by_side_stop_telling_each_other_what_is_shown(pages, chromium):
    with opened(chromium, pages["pair"]) as tab:
        first, second = tab.frame_locator("iframe >> nth=0"), tab.frame_locator("iframe >> nth=1")
        tab.evaluate("window.told = 0; addEventListener('message', () => { window.told += 1; })")
        first.locator("#time").focus()
        for _ in range(3):
            tab.keyboard.press("ArrowRight")
        for page in (first, second):
            expect(page.locator("#when")).to_have_text("step 3 of 8")
        tab.evaluate("location.hash = '#t=2'")
        expect(first.locator("#when")).to_contain_text("step 2 of")
        expect(second.locator("#when")).to_contain_text("step 2 of")
        tab.wait_for_timeout(500)
        assert tab.evaluate("window.told") <= 8


def test_a_network_that_runs_stands_beside_one_with_recorded_steps(pages, chromium):
    with opened(chromium, pages["mixed pair"]) as tab:
        for number in range(2):
            frame = tab.frame_locator(f"iframe >> nth={number}")
            assert "Output" in frame.locator("#panels").inner_text()


TAPES = ["Tape 1", "Actions of tape 1", "Tape 2", "Actions of tape 2"]


@pytest.mark.parametrize(("name", "shown"), [("stack", ["Stack 1", "Actions of stack 1"]), ("tape", TAPES)])
def test_cells_of_stacks_and_tapes_follow_the_input(name, shown, pages, chromium):
    with opened(chromium, pages[name], "#i=000.101&r=1&t=2") as tab:
        captions = tab.locator("#panels figcaption span:first-child").all_inner_texts()
        assert captions == ["Input", "Target", "Output", *shown, "Hidden units"]
        assert "Point at a slot" not in tab.locator("footer").inner_text()
        before = colors(tab, "#panels figure:nth-child(4) canvas")
        tab.locator("#inputs").focus()
        tab.keyboard.press("ArrowLeft")
        tab.keyboard.press("1")
        assert "i=000.111" in address(tab)
        assert colors(tab, "#panels figure:nth-child(4) canvas") != before


def test_recorded_steps_are_shown(pages, chromium):
    with opened(chromium, pages["recorded"]) as tab:
        assert "cannot run a network with a controller or a memory of one's own" in tab.locator("#check").inner_text()
        captions = tab.locator("#panels figcaption").all_inner_texts()
        assert any(caption.startswith("Write weighting") for caption in captions)
        assert "Click an input" not in tab.locator("footer").inner_text()
        assert tab.locator("#random").count() == 0
        tab.locator("#sample").select_option("1")
        assert "e=1" in address(tab)


@pytest.mark.parametrize(
    "hostile",
    ["#t=99999&i=" + "9" * 50, "#i=01.2&c=1_9_gate_2!x!1_0_shift_1e9!_", "#e=77&f=1.1_999999.1_x", "#%E0%A4%A&t=-1",
     "#i=" + ".".join(["000"] * 3000), "#t=<img src=x>"],
)  # fmt: skip
def test_any_address_opens(hostile, pages, chromium):
    with opened(chromium, pages["ntm"], hostile) as tab:
        assert tab.locator("#when").inner_text().startswith("step ")
        assert tab.locator("img").count() == 0


def test_dark_where_the_reader_wants_it(pages, chromium):
    paper = {}
    for scheme in ("light", "dark"):
        with opened(chromium, pages["ntm"], color_scheme=scheme) as tab:
            paper[scheme] = tab.locator("body").evaluate("b => getComputedStyle(b).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}


@pytest.mark.parametrize("name", ["ntm", "dnc", "sdnc", "lstm", "stack", "tape", "recorded", "pair"])
def test_on_a_phone_nothing_sticks_out(name, pages, chromium):
    with opened(chromium, pages[name], viewport={"width": 360, "height": 700}, has_touch=True) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_notebook_shows_it_in_a_frame(tmp_path, chromium):
    place = tmp_path / "notebook.html"
    place.write_text(f"<!doctype html><div>{PAGES['ntm']()._repr_html_()}</div>", encoding="utf-8")
    with opened(chromium, place) as tab:
        frame = tab.frame_locator("iframe")
        expect(frame.locator("#when")).to_have_text("step 0 of 8")
        frame.locator("#forward").click()
        expect(frame.locator("#when")).to_have_text("step 1 of 8")
        tab.wait_for_timeout(250)  # until the page would keep its address


#: The red of the first row of targets, in each of so many steps. Chromium warns of a second reading of a canvas.
FIRST_ROW = """(steps) => {
  const canvas = document.querySelectorAll("#panels canvas")[1], { width } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 5, width, 1);
  return Array.from({ length: steps }, (_, step) => data[4 * Math.round((step + 0.5) / steps * width)]);
}"""


def test_padding_after_the_end_symbol_is_pale_and_rows_are_named(pages, chromium):
    with opened(chromium, pages["stack task"], "#i=0.1.1.3.2.2") as tab:
        captions = tab.locator("#panels figcaption").all_inner_texts()
        assert "rows from above: 0, 1, pop, push 0, push 1, empty" in captions[0]
        assert "rows from above: 0, 1, end" in captions[1]
        assert "pale after the end symbol: padding" in captions[1]
        # The answer is 1 0 end, then zeros.
        shown = tab.evaluate(FIRST_ROW, 13)
        assert shown[7] < 60
        assert 120 < min(shown[9:]) <= max(shown[9:]) < 200


def test_the_parts_of_the_weightings_of_a_dnc_are_side_by_side(pages, chromium):
    with opened(chromium, pages["dnc"]) as tab:
        boxes = [figure.bounding_box() for figure in tab.locator("#panels .half").all()]
        assert len(boxes) == 6
        assert [first["y"] for first in boxes[::2]] == [second["y"] for second in boxes[1::2]]
