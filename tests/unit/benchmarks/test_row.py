from __future__ import annotations

from benchmarks.results import keep
from benchmarks.row import Row, table


def test_the_ratio_of_times_says_how_many_times_as_fast() -> None:
    row = Row.of_times("status", 0.002, "counting", 0.5)
    assert (row.value, row.baseline_value, row.unit, row.ratio) == (2.0, 500.0, "ms", 250.0)


def test_the_ratio_of_rates_says_how_many_times_as_many() -> None:
    row = Row.of_rates("submit", 300.0, "IDs/s", "COPY", 600.0)
    assert (row.value, row.baseline_value, row.ratio) == (300.0, 600.0, 0.5)


def test_long_times_are_in_seconds() -> None:
    assert Row.of_times("cancel", 0.5, "UPDATE", 3.0).unit == "s"


def test_all_rows_stand_in_one_table() -> None:
    rows = [
        Row.of_rates("submit", 1234.5, "IDs/s", "COPY", 4938.0, goal="0.4 x"),
        Row.of_times("status", 0.002, "counting", 0.5, remark="of a million"),
    ]
    assert table(rows).splitlines() == [
        "| what | here | baseline | there | ratio | goal | remark |",
        "|---|---:|---|---:|---:|---|---|",
        "| submit | 1,234 IDs/s | COPY | 4,938 IDs/s | 0.25 x | 0.4 x |  |",
        "| status | 2.00 ms | counting | 500 ms | 250 x |  | of a million |",
    ]


def test_a_kept_result_is_named_by_date_and_commit_and_tells_the_machine(tmp_path) -> None:
    machine = {"date": "2026-01-31", "commit": "0123abcd, with changes", "cores": "2"}
    path = keep(tmp_path / "results", machine, [Row.of_times("status", 0.002, "counting", 0.5)])
    assert path.name == "2026-01-31-0123abcd.md"
    assert keep(tmp_path, machine, [], parts=["table", "floor"]).name == "2026-01-31-0123abcd-table-floor.md"
    assert "- cores: 2" in path.read_text()
    assert "| status |" in path.read_text()
