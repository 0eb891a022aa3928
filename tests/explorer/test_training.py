"""The weights that a training keeps on its way: files, the page, the animation."""

import re

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lightning_ntm import NTM, Copy, open_run
from lightning_ntm.cli import main
from lightning_ntm.evaluation.over_training import over_training
from lightning_ntm.explorer import network as on_page
from lightning_ntm.explorer.page import render

SIZES = "--model.hidden_size 5 --model.memory_slots 12 --model.memory_width 4 --task.bits 3 --task.max_length 4"
BRIEF = f"train --task Copy {SIZES} --min_memory_slots 0 --trainer.val_check_interval 2 --decay_after 1"
BRIEF += " --data.validation_sequences 4 --trainer.enable_progress_bar false"


def train(*words):
    return main([*BRIEF.split(), *words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder with a run of six steps that keeps the weights of every second one."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train("--trainer.max_steps", "6", "--keep_weights_every", "2", "--name", "a") == 0
    return folder


def steps(run):
    return sorted(int(path.stem.removeprefix("step-")) for path in (run / "weights").iterdir())


def test_the_weights_of_steps_are_those_of_runs_that_end_there(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert steps(folder / "runs/a") == [0, 2, 4, 6]
    assert train("--trainer.max_steps", "4", "--name", "b") == 0
    assert not (folder / "runs/b/weights").exists()
    shorter = torch.load(folder / "runs/b/last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in load_file(folder / "runs/a/weights/step-4.safetensors").items():
        assert torch.equal(tensor, shorter[f"model.{name}"])


def test_a_resumed_run_keeps_on_and_forgets_what_it_trains_again(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert train("--trainer.max_steps", "4", "--keep_weights_every", "1", "--name", "c") == 0
    late = folder / "runs/c/weights/step-9.safetensors"
    late.write_bytes(b"of a training that was killed")
    assert main(["train", "--resume", "runs/c", "--trainer.max_steps", "6"]) == 0
    assert steps(folder / "runs/c") == [0, 1, 2, 3, 4, 5, 6]
    whole, resumed = (load_file(folder / f"runs/{name}/weights/step-6.safetensors") for name in "ac")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_some_steps_between_the_first_and_the_last(folder):
    run = open_run(folder / "runs/a")
    found = list(over_training(run.model, folder / "runs/a", 3))
    assert [step for step, _ in found] == [0, 2, 6]
    best = dict(run.model.state_dict())
    assert not torch.equal(found[0][1].state_dict()["output.bias"], best["output.bias"])
    assert list(over_training(run.model, folder)) == []


def test_the_animation_shows_the_output_of_each_step(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    path = str(tmp_path / "a.gif")
    assert main(["figure", "runs/a", "--animate", path, "--over", "training"]) == 0
    with Image.open(path) as pictures:
        assert pictures.n_frames == 4
    for words, says in {
        (
            "copy",
            "--animate",
            path,
        ): "copy has no weights of steps of its training: train it with --keep_weights_every.",
        ("runs/a",): "--over training chooses what --animate FILE shows",
    }.items():
        assert main(["figure", *words, "--over", "training"]) == 2
        assert says in capsys.readouterr().err


def test_damaged_weights_are_one_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    weights = folder / "runs/a/weights/step-4.safetensors"
    whole = weights.read_bytes()
    try:
        for data in (whole[:99], (folder / "runs/a/weights/step-2.safetensors").read_bytes()[:-8]):
            weights.write_bytes(data)
            assert main(["explore", "runs/a", "--html", str(tmp_path / "a.html")]) == 2
            error = capsys.readouterr().err
            assert "step-4.safetensors is damaged" in error
            assert error.count("\n") == 1
        assert not (tmp_path / "a.html").exists()
    finally:
        weights.write_bytes(whole)


def test_weights_are_rounded_and_left_out_to_fit_the_page(monkeypatch):
    torch.manual_seed(1)
    kept = [(step, dict(NTM(4, 3, hidden_size=5, memory_slots=12, memory_width=4).state_dict())) for step in range(9)]
    numbers = sum(tensor.numel() for tensor in kept[0][1].values())
    for room, count, half in ((36 * numbers, 9, False), (18 * numbers, 9, True), (8 * numbers, 4, True)):
        monkeypatch.setattr(on_page, "TRAINING_BYTES", room)
        packed = on_page.packed_training(kept)
        assert (len(packed["steps"]), packed["half"]) == (count, half)
        assert [packed["steps"][place]["step"] for place in (0, -1)] == [0, 8]
        page = render(NTM(4, 3, hidden_size=5, memory_slots=12, memory_width=4), Copy(3), 1, training=kept)
        assert f"It has weights of {count} steps of the training{', rounded to float16' * half}." in page


LOGITS = """(number) => {
  const { network, training, samples } = JSON.parse(document.getElementById("data").textContent);
  const chosen = training.steps[number].tensors, opened = NETWORK.opened({ ...network, tensors: chosen });
  return [...NETWORK.run(opened, NETWORK.unpacked(samples[0].arrays.inputs)).logits.data];
}"""
SETTLED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 250))))"


@pytest.mark.parametrize("half", [False, True])
def test_a_slider_goes_through_the_training(half, folder, tmp_path, monkeypatch, chromium):
    if half:
        monkeypatch.setattr(on_page, "TRAINING_BYTES", 2500)
    assert main(["explore", str(folder / "runs/a"), "--html", str(tmp_path / "a.html")]) == 0
    tab = chromium.new_page()
    failures = []
    tab.on("pageerror", lambda error: failures.append(str(error)))
    tab.goto((tmp_path / "a.html").as_uri())
    output = "canvas => canvas.toDataURL()"
    picture = tab.locator("figure", has_text="Output").locator("canvas")
    shown = {"last": picture.evaluate(output)}
    slider = tab.locator("#training")
    assert slider.input_value() == slider.get_attribute("max")
    assert "the network of the run" in tab.locator("#episode").inner_text()
    slider.focus()
    tab.keyboard.press("Home")
    tab.evaluate(SETTLED)
    assert "step 0" in tab.locator("#episode").inner_text()
    assert tab.evaluate("location.hash").endswith("&w=0")
    shown["first"] = picture.evaluate(output)
    assert shown["first"] != shown["last"]
    again = chromium.new_page()
    again.goto(tab.url)
    assert again.locator("figure", has_text="Output").locator("canvas").evaluate(output) == shown["first"]
    tab.keyboard.press("End")
    tab.evaluate(SETTLED)
    assert picture.evaluate(output) == shown["last"]
    assert "w=" not in tab.evaluate("location.hash")
    run = open_run(folder / "runs/a")
    task, seed = run.task, run.seed
    drawn = [task.batch(seed, "evaluation", number, 1).inputs for number in range(5)]
    inputs = max(drawn, key=lambda one: one.shape[1])  # the longest episode comes first
    for number, (_, network) in enumerate(over_training(run.model, folder / "runs/a", 4)):
        if half and number:  # some of the steps are left out
            continue
        difference = torch.tensor(tab.evaluate(LOGITS, number)) - network(inputs)[0].flatten()
        assert difference.abs().max() < (2e-2 if half else 1e-5)
    assert failures == []
    told = tab.locator("header").inner_text()
    assert re.search(r"weights of \d steps of the training" + (", rounded to float16" if half else r"\."), told)
    tab.close()
    again.close()


def test_two_networks_side_by_side_have_a_slider_each_that_keeps_its_step(folder, tmp_path, monkeypatch, chromium):
    monkeypatch.chdir(folder)
    assert train("--trainer.max_steps", "4", "--keep_weights_every", "2", "--name", "d", "--seed", "2") == 0
    assert main(["explore", "runs/a", "runs/d", "--html", str(tmp_path / "pair.html")]) == 0
    tab = chromium.new_page()
    failures = []
    tab.on("pageerror", lambda error: failures.append(str(error)))
    tab.goto((tmp_path / "pair.html").as_uri() + "#t=1&i=000.101&r=1")
    first, second = tab.frame_locator("iframe >> nth=0"), tab.frame_locator("iframe >> nth=1")
    sliders, output = [page.locator("#training") for page in (first, second)], "canvas => canvas.toDataURL()"
    assert [slider.get_attribute("max") for slider in sliders] == ["4", "3"]
    pictures = [page.locator("figure", has_text="Output").locator("canvas") for page in (first, second)]
    before = [picture.evaluate(output) for picture in pictures]
    sliders[0].focus()
    tab.keyboard.press("Home")
    tab.evaluate(SETTLED)
    assert [slider.input_value() for slider in sliders] == ["0", "3"]
    after = [picture.evaluate(output) for picture in pictures]
    assert (after[0] != before[0], after[1] == before[1]) == (True, True)
    second.locator("#inputs").focus()
    tab.keyboard.press("1")  # the other network sees the changed input, too, and stays at its step
    for frame in tab.frames:
        frame.evaluate(SETTLED)
    kept = tab.evaluate("location.hash")
    assert kept == "#t=1&i=000.111&r=1/w=0"
    assert "step 1 of 4" in first.locator("body").inner_text()
    assert [slider.input_value() for slider in sliders] == ["0", "3"]
    assert "step 0" in first.locator("#episode").inner_text()
    shown = pictures[0].evaluate(output)
    tab.goto("about:blank")
    tab.goto((tmp_path / "pair.html").as_uri() + kept)  # a link that was shared
    first.get_by_text("step 1 of 4").wait_for()
    tab.evaluate(SETTLED)
    assert [slider.input_value() for slider in sliders] == ["0", "3"]
    assert pictures[0].evaluate(output) == shown
    assert failures == []
    tab.close()
