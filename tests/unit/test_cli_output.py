"""What the commands print: ages, durations, tables in a pipe, text that is only text."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pactstream import clock
from pactstream.cli import output
from pactstream.errors import Fatal


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800), ("999999s", 999_999)]
)
def test_a_duration(text: str, seconds: int) -> None:
    assert output.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "24", "h", "0h", "-1h", "1.5h", "1 h", "24hours", "1w", "٣h", "1234567s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Fatal, match="is not a duration such as 30m, 24h or 7d"):
        output.duration(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min"), (3_600, "1 h"), (200_000, "2 d")],
)
def test_an_age_is_in_the_largest_unit_that_fits(
    monkeypatch: pytest.MonkeyPatch, seconds: int, shown: str
) -> None:
    monkeypatch.setattr(clock, "now_micros", lambda: 1_000_000_000_000_000)
    assert output.age(1_000_000_000_000_000 - seconds * clock.MICROS_PER_SECOND) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ägypten → 数", "Ägypten → 数"),
        ("a\nb", "a\nb"),
        ("\x1b[2J\x07\t", "\\u001b[2J\\u0007\\u0009"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil\u200b", "\\u202eevil\\u200b"),
        ("\ud800", "\\ud800"),
    ],
)
def test_invisible_characters_are_shown_as_what_they_are(text: str, shown: str) -> None:
    assert output.printable(text) == shown


def test_rows_are_one_line_each_in_a_pipe_and_never_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = output.table("a", "b")
    output.row(table, "x" * 300, "[red]:smile:")
    output.show(table)
    assert capsys.readouterr().out.splitlines()[1].split() == ["x" * 300, "[red]:smile:"]
