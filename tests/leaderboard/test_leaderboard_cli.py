"""``refkit leaderboard`` and ``refkit predictions`` from the command line."""

import json
import re
import shlex

import pytest
from board_scene import write_answers, write_refshapes

from refkit.cli.main import load_command, main


@pytest.fixture
def run(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return left.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def files(tmp_path):
    records = tmp_path / "records" / "r.jsonl"
    write_refshapes(records)
    return records, write_answers(records, tmp_path / "p.jsonl", 2.0), tmp_path / "board"


def add(run, files, *options):
    records, answers, folder = files
    return run(
        "leaderboard",
        "add",
        records,
        answers,
        "--method",
        "Wobble",
        "--setting",
        "single_dataset",
        "--folder",
        folder,
        "--draws",
        "50",
        *options,
    )


def test_add_check_build(run, files, tmp_path):
    code, out, _ = add(
        run,
        files,
        "--baselines",
        "--trained-on",
        files[0],
        "--parameters",
        "3",
        "--year",
        "2026",
        "--note",
        "A remark.",
    )
    assert (
        code == 0 and "wobble.yaml  refshapes.seed1.val, rec/1: acc50" in out and "trivial-centre-box" in out
    )
    text = (files[2] / "rec" / "wobble.yaml").read_text()
    assert "how: computed" in text and "share: 1.0" in text and "A remark." in text
    code, out, _ = run("leaderboard", "check", "--folder", files[2])
    assert code == 0 and "4 equal, 0 different, 0 not computed" in out
    code, out, _ = run("leaderboard", "build", tmp_path / "site", "--folder", files[2])
    assert code == 0 and "4 entries" in out and (tmp_path / "site" / "index.html").is_file()


def test_the_examples_of_the_help_work(run, files, tmp_path, monkeypatch):
    """Word for word, with files of those names in a folder that is no checkout."""
    monkeypatch.chdir(tmp_path)
    files[0].rename("refcoco.unc.val.jsonl")
    files[1].rename("val.predictions.jsonl")
    examples = {
        name: re.search("Example: refkit (.+)", command.help)[1]
        for name, command in load_command("leaderboard").commands.items()
    }
    for name, told in (("add", "my-method.yaml"), ("check", "1 equal"), ("build", "1 entries")):
        code, out, err = run(*shlex.split(examples[name]))
        assert code == 0 and told in out, err
    assert (tmp_path / "site" / "index.html").is_file() and not (tmp_path / "model_zoo").exists()
    code, _, err = run("leaderboard", "build", "site")
    assert code == 2 and "say where yours are with --folder" in err


def test_check_fails_on_a_difference(run, files):
    add(run, files)
    path = files[2] / "rec" / "wobble.yaml"
    path.write_text(path.read_text().replace("coverage: 1.0", "coverage: 0.9"))
    code, out, _ = run("leaderboard", "check", "--folder", files[2])
    assert code == 1 and "coverage: 0.9 in the entry, 1.0 found" in out


def test_errors_are_one_message(run, files):
    code, _, err = add(run, files, "--url", "javascript:alert(1)")
    assert code == 2 and err.startswith("refkit: paper.url: expected an address")
    code, _, err = run("leaderboard", "build", files[2] / "site", "--folder", files[2] / "nowhere")
    assert code == 2 and "nowhere: no such folder of entries; say where yours are with --folder" in err


def test_methods_with_markup_are_printed_as_they_are(run, files):
    records, answers, folder = files
    code, out, _ = run(
        "leaderboard",
        "add",
        records,
        answers,
        "--method",
        "[red]x[/red]",
        "--setting",
        "zero_shot",
        "--folder",
        folder,
        "--draws",
        "0",
    )
    assert code == 0 and "red-x-red.yaml" in out


@pytest.mark.shared
def test_seed(run, shared, tmp_path):
    code, out, _ = run("leaderboard", "seed", shared / "leaderboard_seed.yaml", "--folder", tmp_path / "b")
    assert code == 0 and (tmp_path / "b" / "rec" / "transvg.yaml").is_file() and "111 files" in out


def test_import(run, files, tmp_path):
    records = files[0]
    ids = [json.loads(line)["id"] for line in records.read_text().splitlines()[1:13]]
    rows = [{"id": name, "answer": "[0.1, 0.2, 0.5, 0.9]"} for name in ids] + [{"id": "other", "answer": "?"}]
    rows[0]["answer"] = "[red]no box[/red]"
    source = tmp_path / "answers.json"
    source.write_text(json.dumps(rows))
    arguments = (
        "predictions",
        "import",
        "--format",
        "text",
        "--in",
        source,
        "--records",
        records,
        "--out",
        tmp_path / "o.jsonl",
        "--space",
        "xyxy-pixel",
    )
    code, _, err = run(*arguments)
    assert code == 2 and "1 answers match no record" in err
    code, out, _ = run(*arguments, "--skip-unmatched")
    assert code == 0 and "12 of 60 records answered" in out and "1 answers could not be read" in out
    assert "1 rows match no record" in out and "Warning: 100% of the boxes fit the unit square" in out
    code, _, err = run(*arguments[:3], "csv", *arguments[4:])
    assert code == 2 and "no format 'csv'; there are coco" in err
