"""The run of a lab turns red where it should: on broken notebooks and on cells that check
nothing."""

import nbformat
import nbformat.v4 as v4
import pytest


def printed(text):
    return v4.new_output("stream", name="stdout", text=text)


def cell(source, outputs=(), count=1):
    return v4.new_code_cell(source, outputs=list(outputs), execution_count=count)


@pytest.fixture
def notebook(tmp_path):
    def write(*cells):
        path = tmp_path / "tiny.ipynb"
        nbformat.write(v4.new_notebook(cells=list(cells)), path)
        return path

    return write


CHECKED = "# NBVAL_CHECK_OUTPUT\nprint(2 + 2)"


def test_a_sound_notebook_passes_and_every_cell_is_counted(notebook, validate):
    loud = "# NBVAL_CHECK_OUTPUT\nimport sys\nprint('again', file=sys.stderr)\nprint(5)"
    outcome = validate(
        notebook(cell(CHECKED, [printed("4\n")]), cell("x = 1"), cell(loud, [printed("5\n")]))
    )
    assert (outcome.status, outcome.ran, outcome.skipped) == (0, 3, 0), outcome.text


def test_a_changed_number_fails(notebook, validate):
    outcome = validate(notebook(cell(CHECKED, [printed("5\n")])))
    assert (outcome.status, outcome.failed) == (1, 1), outcome.text
    assert "Cell outputs differ" in outcome.text


def test_a_cell_that_raises_fails(notebook, validate):
    outcome = validate(notebook(cell("raise ValueError('no such number')", count=None)))
    assert (outcome.status, outcome.failed) == (1, 1), outcome.text
    assert "no such number" in outcome.text


def test_a_dead_kernel_fails_and_does_not_hang(notebook, validate):
    outcome = validate(notebook(cell("import os\nos._exit(0)"), cell("print(1)")))
    assert (outcome.status, outcome.failed) == (1, 2), outcome.text
    assert "the kernel died while it ran this cell" in outcome.text


def test_cells_that_would_check_nothing_are_refused(notebook, validate):
    only_stderr = v4.new_output("stream", name="stderr", text="4\n")
    outcome = validate(
        notebook(
            cell(CHECKED, [printed("4\n")]),
            cell(CHECKED),
            cell(CHECKED, [only_stderr]),
            cell("# NBVAL_SKIP\nprint(1)"),
            cell("# NBVAL_RAISES_EXCEPTION\nraise ValueError"),
        )
    )
    assert (outcome.status, outcome.ran) == (4, 0), outcome.text
    assert "Cell 0" not in outcome.text
    for refused in ("Cell 1: no stored", "Cell 2: no stored", "Cell 3: marked", "Cell 4: marked"):
        assert refused in outcome.text
