"""The report: a folder that is whole, says the same numbers everywhere and shows where methods differ."""

import csv
import html.parser

import numpy as np
import pytest
from click.testing import CliRunner

from lure_jax.cli import main
from lure_jax.evaluation import compare, report
from lure_jax.evaluation import fusion as protocol
from lure_jax.inference import images

NAMES = ("plain", "<i>odd & long</i>")


def comparison():
    rng = np.random.default_rng(0)
    columns = (*compare.COLUMNS, "CC")
    scores = {
        name: {stem: dict(zip(columns, rng.uniform(0.8, 1.2, len(columns)), strict=True)) for stem in "ab"}
        for name in NAMES
    }
    limits = {stem: dict.fromkeys(columns, 1.0) for stem in "ab"}
    scores[NAMES[1]]["a"]["chroma shift"] = 50.0
    pictures = {"visible": np.full((60, 90, 3), 90, np.uint8), "infrared": np.full((60, 90), 30, np.uint8)}
    pictures |= {name: np.full((60, 90, 3), 60, np.uint8) for name in NAMES}
    pictures[NAMES[1]][20:52, 40:72] = (250, 250, 0)
    return compare.Comparison(scores, limits, {"a": pictures}, ["x.png is empty (0 bytes)."])


class Page(html.parser.HTMLParser):
    """Files a page refers to, its table's cells with their classes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.files, self.cells, self.text, self._cell = [], [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.files += [attributes[key] for key in ("src", "href") if key in attributes]
        if tag == "td":
            self.cells.append((attributes.get("class"), ""))
        self._cell = tag == "td" or self._cell and tag == "b"

    def handle_endtag(self, tag):
        self._cell = self._cell and tag != "td"

    def handle_data(self, data):
        self.text += data
        if self._cell:
            self.cells[-1] = (self.cells[-1][0], self.cells[-1][1] + data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    pytest.importorskip("matplotlib")
    folder, made = tmp_path_factory.mktemp("report") / "new" / "report", comparison()
    report.check(folder, overwrite=False)
    report.write(folder, made, compare.table(made))
    return folder, made, Page((folder / "index.html").read_text())


def test_the_folder_is_complete_and_nothing_else_is_left(written):
    folder, _, page = written
    assert set(page.files) | {"index.html"} == {path.name for path in folder.iterdir()}
    assert len(page.files) == len(report.PLOTTED) + 1 + 2  # plots, one pair, two CSV files
    for name in page.files:
        if name.endswith(".png"):
            assert images.read(folder / name, "visible").std() > 5
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_page_and_csv_say_the_numbers_of_the_table(written):
    folder, made, page = written
    rows = compare.table(made)
    lines = list(csv.DictReader((folder / "table.csv").open()))
    texts = [text for _, text in page.cells]
    for row, line in zip(rows, lines, strict=True):
        assert line["method"] == row.method and row.method in texts and row.method in page.text
        for metric in (*protocol.RANKED, "chroma shift"):
            mean = np.mean([scores[metric] for scores in made.scores[row.method].values()])
            assert float(line[metric]) == pytest.approx(mean) and f"{mean:.3f}" in texts
    images_ = list(csv.DictReader((folder / "per_image.csv").open()))
    assert [(line["method"], line["image"]) for line in images_] == [(n, s) for n in NAMES for s in "ab"]
    assert float(images_[0]["CC"]) == made.scores["plain"]["a"]["CC"]


def test_the_page_marks_vetoes_and_tells_failures(written):
    _, made, page = written
    vetoed = {text for kind, text in page.cells if kind == "vetoed" and text}
    means = [made.means[name]["chroma shift"] for name in NAMES]
    assert vetoed == {f"{means[1]:.3f}", "chroma shift"}
    assert "x.png is empty (0 bytes)." in page.text and "2 pairs" in page.text


def test_a_sheet_frames_and_enlarges_the_place_that_differs():
    picture = report.sheet(comparison().pictures["a"])
    step = report.WIDTH + report.GAP
    assert picture.shape[1] == 4 * step - report.GAP
    top, zoomed = report.BAND + 240 + report.GAP, (report.WIDTH - report.GAP) // 2
    crop = picture[top : top + zoomed, 3 * step : 3 * step + zoomed]
    frame, inside = (255, 0, 0), crop[2:-2, 2:-2]
    assert (inside == (250, 250, 0)).all() and (crop[:2] == frame).all()
    # The square of 32 pixels at (20, 40), four times enlarged.
    whole = picture[report.BAND : report.BAND + 240, 3 * step : 3 * step + report.WIDTH]
    rows, columns = np.nonzero((whole == frame).all(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (80, 207, 160, 287)


def test_what_a_report_may_replace(written, tmp_path):
    folder, made, _ = written
    report.check(tmp_path, overwrite=False)  # empty
    with pytest.raises(report.ReportError, match="already exists; give --overwrite"):
        report.check(folder, overwrite=False)
    report.check(folder, overwrite=True)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(report.ReportError, match="other files than a report"):
        report.check(tmp_path, overwrite=True)
    with pytest.raises(report.ReportError, match="a file is in its place"):
        report.check(tmp_path / "letter.txt" / "report", overwrite=True)
    (folder / "sheet_7.png").write_text("of the report before")
    report.write(folder, made, compare.table(made))
    assert not (folder / "sheet_7.png").exists()


def test_a_report_that_fails_leaves_the_old_one_and_no_draft(written, monkeypatch):
    folder, made, _ = written
    before = (folder / "index.html").read_text()
    monkeypatch.setattr(report, "_page", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write(folder, made, compare.table(made))
    assert (folder / "index.html").read_text() == before
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_without_matplotlib_one_sentence_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(report.importlib.util, "find_spec", lambda name: None)
    places = ("--visible", tmp_path, "--infrared", tmp_path, "--report", tmp_path / "r")
    result = CliRunner().invoke(main, ["compare", "max", *map(str, places)])
    assert result.exit_code == 2 and "pip install 'lure-jax[report]'" in result.output
    assert len(result.output.strip().splitlines()) == 1 and not (tmp_path / "r").exists()
