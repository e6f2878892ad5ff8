"""Which numbers stand beside each other, who is ranked, and what the exports write."""

import csv
import io
import json
from pathlib import Path

import pytest

from refkit.leaderboard.board.boards import build_pages
from refkit.leaderboard.board.export import FORMATS
from refkit.leaderboard.board.metrics import in_order, metric_style
from refkit.leaderboard.entries.files import Located
from refkit.leaderboard.entries.schema import Entry

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def result(value, records="refcoco.unc.val", protocol="rec/1", digest=DIGEST, metric="acc50", **more):
    files = {"predictions": {"file": "predictions/x.jsonl", "sha256": "c" * 64}}
    value = value if isinstance(value, dict) else {metric: value}
    return {
        "records": records,
        "records_digest": digest,
        "protocol": protocol,
        "value": value,
        **files,
        **more,
    }


def printed(value, table="Table 1", records="refcoco.unc.val", **more):
    source = {"work": "w", "table": table, "row": 1, "quoted": 100 * value}
    return {"records": records, "value": {"acc50": value}, "source": source, **more}


def method(name, *results, status="reproduced", setting="single_dataset", **more):
    entry = Entry.model_validate(
        {
            "format": "refkit.entry/1",
            "task": "rec",
            "method": name,
            "status": status,
            "training": {"setting": setting},
            "results": list(results),
            **more,
        }
    )
    return Located(entry, Path(f"rec/{name}.yaml"))


def reported(name, *results, **more):
    return method(name, *results, status="reported", **more)


def only_table(*entries):
    (page,) = build_pages(entries)
    (table,) = page.tables
    return table


def ranks(table, split="val"):
    return [(row.entry.method, row.cells[split].rank) for row in table.rows]


def test_equal_values_share_a_rank_and_reported_rows_have_none():
    table = only_table(
        method("a", result(0.7)),
        method("b", result(0.9)),
        method("c", result(0.9)),
        method("d", result(0.5)),
        reported("p", printed(0.8)),
    )
    assert ranks(table) == [("b", 1), ("c", 1), ("p", None), ("a", 3), ("d", 4)]


def test_ranks_are_given_among_equal_protocol_and_digest_only():
    table = only_table(
        method("a", result(0.7)),
        method("b", result(0.9, protocol="rec/transvg")),
        method("c", result(0.8, digest=OTHER)),
    )
    assert ranks(table) == [("b", 1), ("c", 1), ("a", 1)]


def test_setting_groups_and_metrics_are_boards_of_their_own():
    (page,) = build_pages(
        [
            method("a", result({"acc50": 0.7, "miou": 0.6})),
            method("b", result(0.9), setting="mixed_pretraining/intermediate"),
            method("c", result(0.8), setting="mixed_pretraining/multi_task"),
        ]
    )
    assert [(table.metric, table.group, len(table.rows)) for table in page.tables] == [
        ("acc50", "mixed_pretraining", 2),
        ("acc50", "single_dataset", 1),
        ("miou", "single_dataset", 1),
    ]


def test_splits_are_columns_and_data_sets_are_pages():
    pages = build_pages(
        [
            method(
                "a",
                result(0.7),
                result(0.6, "refcoco.unc.testB"),
                result(0.8, "refcoco.unc.testA"),
                result(0.5, "refcocog.umd.val"),
            )
        ]
    )
    assert [(page.dataset, page.tables[0].splits) for page in pages] == [
        ("refcoco.unc", ["val", "testA", "testB"]),
        ("refcocog.umd", ["val"]),
    ]


def test_tables_that_agree_share_a_row_and_others_are_marked():
    agreeing = reported(
        "a", printed(0.8), printed(0.8, "Table 2"), printed(0.7, "Table 2", "refcoco.unc.testA")
    )
    (row,) = only_table(agreeing).rows
    assert [source.table for source in row.sources] == ["Table 1", "Table 2"] and not row.contradicted
    assert set(row.cells) == {"val", "testA"}
    rows = only_table(reported("a", printed(0.8), printed(0.7, "Table 2"))).rows
    assert [row.cells["val"].value for row in rows] == [0.8, 0.7] and all(row.contradicted for row in rows)


def test_a_reported_number_above_a_clean_reproduced_one_is_marked():
    clean, seen = {"overlap": {"how": "computed", "images": 0}}, {"overlap": {"how": "computed", "images": 5}}
    high, low = reported("high", printed(0.9)), reported("low", printed(0.5))

    def marks(*entries):
        return {row.entry.method: row.cells["val"].above_reproduced for row in only_table(*entries).rows}

    assert marks(high, low, method("m", result(0.7, **clean))) == {"high": True, "low": False, "m": False}
    assert not any(marks(high, low, method("m", result(0.7, **seen))).values())


def test_protocols_are_named_or_said_not_to_be():
    table = only_table(
        reported("a", printed(0.9, protocol="rec/transvg")),
        reported("b", printed(0.8, protocol_note="by eye")),
        reported("c", printed(0.7)),
    )
    assert [row.protocol for row in table.rows] == ["rec/transvg", "no id", "not stated"]


def test_the_leader_is_ranked_or_reported():
    table = only_table(method("a", result(0.7)), reported("p", printed(0.8)))
    assert table.leader(ranked=True).entry.method == "a" and table.leader(ranked=False).entry.method == "p"
    assert only_table(reported("p", printed(0.8))).leader(ranked=True) is None


def test_metrics_have_labels_and_an_order():
    assert in_order(["zeta", "miou", "acc50"]) == ["acc50", "miou", "zeta"]
    assert metric_style("acc50").text(0.90564) == "90.56" and metric_style("judge").text(68.9) == "68.9"
    assert metric_style("zeta").label == "zeta"


HOSTILE = '=cmd|"x"&<b>_$%#~^\\{}'


@pytest.fixture
def table():
    ends = {"acc50": 0.12345678901234567, "acc50_interval": [0.1, 0.2]}
    overlap = {"how": "computed", "images": 3, "share": 0.5}
    return only_table(
        method(HOSTILE, result(ends, overlap=overlap)),
        reported("plain", printed(0.5)),
        reported("more", printed(0.5, records="refcoco.unc.testA")),
    )


def test_csv_has_numbers_and_no_formulas(table):
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](table))))
    found = next(row for row in rows if row["method"] == "'" + HOSTILE)
    assert (
        found["val"],
        found["val low"],
        found["val high"],
        found["val rank"],
        found["val overlap images"],
    ) == ("12.35", "10.00", "20.00", "1", "3")
    assert next(row for row in rows if row["method"] == "more")["val"] == ""


def test_json_has_full_precision(table):
    content = json.loads(FORMATS["json"](table))
    found = next(row for row in content["rows"] if row["method"] == HOSTILE)
    assert (
        found["results"]["val"]["value"] == 0.12345678901234567
        and found["results"]["val"]["overlap"]["images"] == 3
    )
    assert content["setting_group"] == "single_dataset"


def test_markdown_keeps_its_columns(table):
    lines = FORMATS["md"](table).splitlines()
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "<b>" not in FORMATS["md"](table).replace("\\<b\\>", "")
    assert "*50.00*" in FORMATS["md"](table)


def test_latex_escapes_and_greys(table):
    text = FORMATS["tex"](table)
    assert (
        r"=cmd|" in text
        and r"\textless{}b\textgreater{}\_\$\%\#\textasciitilde{}\textasciicircum{}\textbackslash{}\{\}"
        in text
    )
    assert r"\textcolor{gray}{plain}" in text and "{[}10.0, 20.0]" in text
