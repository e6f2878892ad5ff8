"""The site: complete, escaped, self-contained, and usable in a real browser."""

import html
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from board_scene import add_wobble, write_answers, write_refshapes
from browser import chromium, find_chromium
from PIL import Image

from refkit.data.records import Header, ImageRef, Record, Target, write_records
from refkit.leaderboard.entries.add import MethodCard, add_predictions
from refkit.leaderboard.entries.files import write_entry
from refkit.leaderboard.entries.schema import Entry
from refkit.leaderboard.entries.sources import RecordShelf
from refkit.leaderboard.predictions import PredictionHeader, write_predictions
from refkit.leaderboard.site.build import build_site
from refkit.structures import Prediction

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "input", "br", "img", "line", "rect", "circle", "image"}


class Outline(HTMLParser):
    """Tags, attributes and addresses of a page; complains about tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()


def outline(path: Path) -> Outline:
    found = Outline()
    found.feed(path.read_text(encoding="utf-8"))
    assert found.open == []
    return found


def published(name: str, value: float, **more) -> Entry:
    source = {"work": "w", "table": HOSTILE, "row": 1, "quoted": 100 * value}
    result = {
        "records": "refcoco.unc.val",
        "value": {"acc50": value},
        "source": source,
        "protocol_note": HOSTILE,
    }
    fields = {
        "format": "refkit.entry/1",
        "task": "rec",
        "method": name,
        "status": "reported",
        "results": [result],
    }
    return Entry.model_validate(fields | {"training": {"setting": "single_dataset"}} | more)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Real answers on drawn scenes beside published numbers with hostile texts everywhere."""
    folder, root = tmp_path_factory.mktemp("entries"), tmp_path_factory.mktemp("work")
    add_wobble(folder, root, 2.0, declared_overlap=0, model={"parameters_m": 3.0}, paper={"year": 2026})
    add_wobble(
        folder,
        root,
        5.0,
        method=HOSTILE,
        notes=(HOSTILE,),
        pretraining=HOSTILE,
        model={"visual": HOSTILE, "parameters_m": 30.0},
        paper={"title": HOSTILE, "year": 2025},
    )
    conflict = {"comment": HOSTILE, "values": {HOSTILE: {HOSTILE: 1.0}}}
    model = {"visual": HOSTILE, "language": HOSTILE, "parameters_m": 7.0}
    hostile = published(
        HOSTILE,
        0.5,
        variant=HOSTILE,
        notes=[HOSTILE],
        conflicts=[conflict],
        model=model,
        paper={"year": 2020, "venue": HOSTILE},
    )
    write_entry(folder, HOSTILE + "published", hostile)
    write_entry(folder, "plain", published("Plain", 0.7, paper={"year": 2021}, model={"parameters_m": 70.0}))
    (folder / "notes.yaml").write_text(f"notes: ['{HOSTILE.replace(chr(39), chr(39) * 2)}']\nsources: {{}}\n")
    out = tmp_path_factory.mktemp("site")
    return out, build_site(folder, out, title=HOSTILE)


def pages(out: Path) -> list[Path]:
    return sorted(out.rglob("*.html"))


def test_every_page_is_whole_and_holds_no_foreign_markup(site):
    out, summary = site
    assert summary.entries == 4 and summary.pages == len(pages(out)) == 7 and summary.pictures > 0
    for path in pages(out):
        found = outline(path)
        assert "img" not in found.tags and found.tags.count("script") == 1
        assert not [name for name, _ in found.attributes if name.startswith("on")]
        assert "<script>alert" not in path.read_text()
    assert html.escape(HOSTILE, quote=False)[:20] in (out / "index.html").read_text().replace(
        "&#34;", '"'
    ).replace("&#39;", "'")


def test_pages_need_nothing_from_elsewhere(site):
    out, _ = site
    for path in pages(out):
        for name, value in outline(path).attributes:
            if name in ("href", "src") and value and not value.startswith(("#", "data:,")):
                assert ":" not in value, value
                target = (path.parent / value.split("#")[0]).resolve()
                assert target.is_file() and target.is_relative_to(out.resolve()), value
    styles = (out / "assets" / "site.css").read_text() + (out / "assets" / "site.js").read_text()
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttp|eval\(|innerHTML", styles)


def test_each_table_is_there_in_four_formats(site):
    out, _ = site
    names = {path.name for path in (out / "export" / "rec").iterdir()}
    assert {
        f"refshapes.seed1.acc50.single_dataset.{ending}" for ending in ("csv", "json", "md", "tex")
    } <= names


def test_a_method_shows_breakdowns_and_pictures(site):
    out, _ = site
    text = (out / "method" / "rec" / "wobble.html").read_text()
    assert "Acc@0.5 by kind" in text and "What became of the answers" in text
    shots = re.findall(r'<image href="../../(gallery/[^"]+)"', text)
    assert 0 < len(shots) <= 12 and all(Image.open(out / shot).format == "JPEG" for shot in shots)
    assert 'class="truth"' in text and 'class="predicted"' in text


def test_ranks_stand_beside_reproduced_numbers_only(site):
    out, _ = site
    assert "rank </span>1" in (out / "rec" / "refshapes.seed1.html").read_text()
    board = (out / "rec" / "refcoco.unc.html").read_text()
    assert "rank </span>" not in board and "no id" in board


def test_building_twice_gives_the_same_bytes(site, tmp_path):
    folder = tmp_path / "entries"
    add_wobble(folder, tmp_path, 2.0)
    build_site(folder, tmp_path / "a")
    build_site(folder, tmp_path / "b")
    files = [
        path.relative_to(tmp_path / "a") for path in sorted((tmp_path / "a").rglob("*")) if path.is_file()
    ]
    assert files and all(
        (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files
    )


def real_pictures(tmp_path, image_root="pictures"):
    """Records of real pictures on disk, with one picture missing."""
    folder = tmp_path / "data" / "pictures"
    folder.mkdir(parents=True)
    records = []
    for number in range(4):
        if number:
            Image.new("RGB", (60, 40), (40 * number, 90, 90)).save(folder / f"{number}.png")

        target = Target(box=(5.0, 5.0, 30.0, 30.0), category="dog")
        records.append(
            Record(f"toy.{number}", ImageRef(f"{number}.png", 60, 40, number), f"dog {number}", [target])
        )
    path = tmp_path / "records.jsonl"
    header = write_records(path, Header("toy", "mine", "val", image_root=image_root), records)
    answers = [
        Prediction(record.id, boxes=[[5.0, 5.0, 30.0, 30.0 - 20 * (record.id == "toy.2")]])
        for record in records
    ]
    write_predictions(tmp_path / "p.jsonl", PredictionHeader.answering(header, "m"), answers)
    add_predictions(tmp_path / "entries", path, tmp_path / "p.jsonl", MethodCard("M", "zero_shot"), draws=20)
    return path


def test_pictures_are_found_below_the_data_root(tmp_path):
    path = real_pictures(tmp_path)
    summary = build_site(tmp_path / "entries", tmp_path / "out", RecordShelf([path]), tmp_path / "data")
    assert summary.pictures == 3
    assert build_site(tmp_path / "entries", tmp_path / "bare").pictures == 0


@pytest.mark.parametrize("image_root", ["../../etc", "/etc"])
def test_records_cannot_lead_out_of_the_data_root(tmp_path, image_root):
    path = real_pictures(tmp_path, image_root)
    summary = build_site(tmp_path / "entries", tmp_path / "out", RecordShelf([path]), tmp_path / "data")
    page = (tmp_path / "out" / "method" / "rec" / "m.html").read_text()
    assert (
        summary.pictures == 0
        and "leads out of the data root" in page
        and "by category" not in page.split("<svg")[0]
    )


def test_a_broken_prediction_file_is_told_on_the_page(tmp_path):
    folder = tmp_path / "entries"
    add_wobble(folder, tmp_path, 2.0)
    next(folder.glob("predictions/*/*/*")).write_text("<b>nonsense")
    build_site(folder, tmp_path / "out")
    assert "Not shown:" in (tmp_path / "out" / "method" / "rec" / "wobble.html").read_text()


def test_a_site_of_150_entries_has_a_page_for_each(tmp_path):
    for number in range(150):
        entry = published(
            f"Method {number}",
            0.5 + number / 400,
            paper={"year": 2018 + number % 9},
            model={"parameters_m": 10.0 + number, "visual": f"ViT {number % 5}"},
        )
        write_entry(tmp_path / "entries", entry.method, entry)
    summary = build_site(tmp_path / "entries", tmp_path / "out")
    assert summary.entries == 150
    assert len(list((tmp_path / "out" / "method" / "rec").glob("*.html"))) == 150


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_the_site_in_a_browser(site):
    out, _ = site
    methods = "[...document.querySelectorAll('.board tbody tr:not([hidden]) th a')].map(a => a.textContent)"
    first = "[...document.querySelectorAll('.board')[0].querySelectorAll('tbody tr:not([hidden]) th a')].map(a => a.textContent)"
    with chromium() as page:
        page.open(out / "rec" / "refcoco.unc.html")
        assert page.run(first) == ["Plain", HOSTILE]
        page.run("document.querySelector('thead th.number button').click()")
        page.run("document.querySelector('thead th.number button').click()")
        assert page.run(first) == [HOSTILE, "Plain"]
        assert page.run("document.querySelector('thead th.number').getAttribute('aria-sort')") == "ascending"

        page.run("document.querySelector('thead th button').focus()")
        page.press("Enter", 13, "\r")
        assert page.run("document.querySelector('thead th').getAttribute('aria-sort')") == "ascending"

        choose = "(() => {{ const s = document.querySelector('[data-filter={}]'); s.value = {!r}; s.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
        page.run(choose.format("backbone", "not stated"))
        assert (
            page.run(methods) == ["Plain"]
            and page.run("document.getElementById('count').textContent") == "1 of 2 rows"
        )
        page.run(
            "document.querySelector('button[type=reset]').click(); new Promise(done => setTimeout(done, 50))"
        )
        page.run(
            "(() => { const s = document.getElementById('search'); s.value = 'plain'; s.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        assert page.run(methods) == ["Plain"]

        page.open(out / "rec" / "refcoco.unc.html", width=390, dark=True)
        assert page.run("document.documentElement.scrollWidth") == 390
        dark = page.run("getComputedStyle(document.body).backgroundColor")
        page.run("document.getElementById('theme').click()")
        assert page.run("getComputedStyle(document.body).backgroundColor") != dark

        page.open(out / "method" / "rec" / "wobble.html")
        assert page.run("document.querySelectorAll('.gallery figure').length") > 0
        page.open(out / "index.html")
        assert page.errors == [] and all(address.startswith(("file:", "data:")) for address in page.requests)
        assert page.run("document.querySelectorAll('script:not([src])').length") == 0


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_texts_are_readable_in_both_themes(site):
    """WCAG's contrast of 4.5 for every visible text, in light and dark."""
    out, _ = site
    script = (Path(__file__).parent / "contrast.js").read_text()
    with chromium() as page:
        for name in (
            "index.html",
            "rec/refshapes.seed1.html",
            "rec/refcoco.unc.html",
            "method/rec/wobble.html",
        ):
            for dark in (False, True):
                page.open(out / name, dark=dark)
                assert page.run(script) == [], (name, dark)
        page.run("document.body.style.color = '#333'")
        assert page.run(script) != []


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_controls_have_names_and_ids_are_unique(site):
    out, _ = site
    script = """(() => {
      const faults = [];
      const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
      if (new Set(ids).size !== ids.length) faults.push('id twice');
      for (const e of document.querySelectorAll('a[href], button, select, input')) {
        const name = (e.getAttribute('aria-label') || e.textContent || e.labels?.[0]?.textContent || '').trim();
        if (!name) faults.push(e.outerHTML.slice(0, 200));
      }
      for (const e of document.querySelectorAll('[aria-labelledby]')) {
        if (!document.getElementById(e.getAttribute('aria-labelledby'))) faults.push(e.outerHTML.slice(0, 200));
      }
      for (const e of document.querySelectorAll('svg[role=img], svg[role=group]')) {
        if (!e.getAttribute('aria-label')) faults.push('svg without a name');
      }
      const levels = [...document.querySelectorAll('h1, h2, h3')].map((e) => Number(e.tagName[1]));
      levels.forEach((level, i) => { if (i && level > levels[i - 1] + 1) faults.push('heading skipped'); });
      if (document.querySelectorAll('h1').length !== 1 || !document.documentElement.lang) faults.push('h1 or lang');
      return faults;
    })()"""
    with chromium() as page:
        for path in pages(out):
            page.open(path)
            assert page.run(script) == [], path


AXE = os.environ.get("REFKIT_AXE", "")


@pytest.mark.skipif(
    not AXE or find_chromium() is None, reason="REFKIT_AXE names no axe.min.js, or no Chromium"
)
def test_axe_core_finds_nothing_serious(site):
    """Deque's axe-core over every kind of page, in both themes and on a phone; ``npm pack axe-core`` has it."""
    script = Path(AXE).read_text("utf-8") + ";0"
    ask = """axe.run(document, {preload: false}).then((found) => ({passes: found.passes.length, faults: found.violations
      .filter((fault) => ["serious", "critical"].includes(fault.impact))
      .map((fault) => `${fault.id}: ${fault.nodes[0].html}`)}))"""
    with chromium() as page:
        for path in pages(site[0]):
            for width, dark in ((1280, False), (1280, True), (390, False)):
                page.open(path, width=width, dark=dark)
                page.run(script)
                found = page.run(ask)
                assert found["passes"] > 20, path
                assert found["faults"] == [], (path, width, dark)


def test_drawn_records_need_no_files(tmp_path):
    write_refshapes(tmp_path / "r.jsonl")
    answers = write_answers(tmp_path / "r.jsonl", tmp_path / "p.jsonl", 3.0)
    add_predictions(
        tmp_path / "entries", tmp_path / "r.jsonl", answers, MethodCard("D", "zero_shot"), draws=20
    )
    (tmp_path / "r.jsonl").unlink()
    assert build_site(tmp_path / "entries", tmp_path / "out").pictures > 0
