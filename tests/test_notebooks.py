"""The notebooks of examples/ run, in the kernel of a notebook; they are kept without outputs."""

import json
import re

import pages
import pytest

NOTEBOOKS = sorted((pages.DOCS.parent / "examples" / "notebooks").glob("*.ipynb"))
#: Trainings of a few steps.
BRIEF = (
    ("max_steps: 500", "max_steps: 2"),
    ("interval: 50", "interval: 1"),
    ("max_steps=600", "max_steps=100"),
    ("seeds: 1-3", "seeds: 1"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs the cells of a notebook, one notebook after the other in one kernel, and returns the cells with outputs."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    import nbformat
    from jupyter_client import KernelManager

    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(cwd=str(tmp_path_factory.mktemp("notebooks")))

    def run(path):
        text = path.read_text(encoding="utf-8")
        for long, short in BRIEF:
            text = text.replace(long, short)
        book = nbformat.reads(text, as_version=4)
        book.cells.append(nbformat.v4.new_code_cell("%reset -f"))
        client = nbclient.NotebookClient(book, km=kernel, timeout=300)
        client.execute()
        client.kc.stop_channels()
        return [cell for cell in book.cells[:-1] if cell.cell_type == "code"]

    yield run
    kernel.shutdown_kernel(now=True)


def named(name):
    (path,) = (path for path in NOTEBOOKS if path.stem == name)
    return path


def outputs(cells, source):
    """The outputs of the only cell with this text."""
    (cell,) = (cell for cell in cells if source in cell.source)
    return cell.outputs


def text(cells, source):
    """What a cell printed."""
    return "".join(output.text for output in outputs(cells, source))


def kinds(cells, source):
    return [set(output.get("data", {})) for output in outputs(cells, source)]


PICTURE, PAGE = {"image/png", "text/plain"}, {"text/html", "text/plain"}


def test_the_memory_at_work(run):
    cells = run(named("memory_at_work"))
    assert kinds(cells, '{"length": 15})') == [PICTURE]
    assert kinds(cells, 'show="addressing"') == [PICTURE]
    assert kinds(cells, 'explore("copy")') == [PAGE]
    (page,) = outputs(cells, 'explore("copy")')
    assert page.data["text/html"].startswith("<iframe srcdoc=")
    assert text(cells, "evaluate(run.model").splitlines()[1] == " 20 vectors: 0.00 wrong bits of 160"


def test_networks_are_compared(run):
    cells = run(named("compare_networks"))
    assert kinds(cells, "plt.figure") == [PICTURE]
    assert kinds(cells, "pivot_table") == [PAGE]
    assert kinds(cells, 'figure("runs/comparison') == [PICTURE]
    told = text(cells, "sweep plan.yaml")
    assert len(told.splitlines()) < 30, told
    assert "runs/comparison/report.html" in text(cells, "report runs")


def test_a_task_and_a_network_of_one_s_own(run):
    cells = run(named("your_task_and_network"))
    (bar,) = outputs(cells, "trainer.fit")
    assert bar.output_type == "display_data", "one bar, and nothing else"
    assert "Register: 100 of 100 steps" in bar.data["text/html"]
    assert "wrong bits in validation" in bar.data["text/html"]
    assert kinds(cells, "figure(network, task)") == [PICTURE]
    assert kinds(cells, "explore(network, task)") == [PAGE]


def test_each_notebook_is_tested_and_has_no_outputs():
    assert {path.stem for path in NOTEBOOKS} == {"memory_at_work", "compare_networks", "your_task_and_network"}
    page = (pages.DOCS / "notebooks.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"../examples/notebooks/{path.name}" in page
        book = json.loads(path.read_text(encoding="utf-8"))
        for cell in book["cells"]:
            assert re.fullmatch(r"cell-\d\d", cell["id"])
            if cell["cell_type"] == "code":
                assert (cell["outputs"], cell["execution_count"]) == ([], None)
