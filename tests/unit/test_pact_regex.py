from __future__ import annotations

import pytest

from pactstream.pacts.regex import MAX_PATTERN, MAX_SIZE, RegexError, compile_regex
from pactstream.pacts.values import MAX_TEXT


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("b", "abc", True),  # search, not full match
        ("", "anything", True),
        ("^b", "abc", False),
        ("^a$", "a", True),
        ("^a$", "a\n", False),  # the trailing newline that Python's `$` lets pass
        ("a$", "ba\n", False),
        ("a$|b", "cb", True),
        (r"^\d+$", "0123456789", True),
        (r"^\d$", "٣", False),  # ARABIC-INDIC DIGIT THREE
        (r"^\D$", "٣", True),
        (r"^\w+$", "az_AZ09", True),
        (r"^\w$", "é", False),
        (r"^\W$", "é", True),
        (r"^\s+$", "\t\n\v\f\r ", True),
        (r"^\s$", "\u00a0", False),
        (r"^\S$", "\u00a0", True),
        (r"\bpay\b", "to pay now", True),
        (r"\bpay\b", "payment", False),
        (r"\Bment", "payment", True),
        (r"[\b]", "\b", True),
        (r"[\b]", "b", False),
        ("^.$", "é", True),
        ("^.$", "😀", True),
        ("^.$", "\n", False),
        ("^.$", "\r", False),
        ("^.$", "\u2028", False),
        (r"^[\w\s-]{0,128}$", "May invoices - ACME", True),
        (r"^[\w\s-]{0,128}$", "May; invoices", False),
        (r"^[\w-.]+$", "a-.", True),
        (r"^[a-\d]+$", "a-7", True),
        (r"^[a-\d]+$", "b", False),
        ("^[a-]$", "-", True),
        ("^[-a]$", "-", True),
        ("^[a-c]$", "b", True),
        ("^[^a-c]$", "b", False),
        (r"^[^\s]$", "\n", False),
        (r"^[\S]$", "x", True),
        ("^[[]$", "[", True),
        ("^[&&]$", "&", True),
        ("^[a&&b]$", "a", True),  # an intersection, were it not for the translation
        ("^[a~~b]$", "~", True),
        (r"^[\]\\]+$", "]\\", True),
        (r"^[\x41-\x43]$", "B", True),
        (r"^\x41\u0042\u{43}\u{1F600}$", "ABC😀", True),
        (r"^\ud83d\ude00$", "😀", True),
        (r"^\t\n\v\f\r\0\cA$", "\t\n\v\f\r\0\x01", True),
        (r"^\^\$\\\.\*\+\?\(\)\[\]\{\}\|\/\-$", "^$\\.*+?()[]{}|/-", True),
        (r"^\#\ \@$", "# @", True),
        ("^# a$", "# a", True),
        ("^(?:a|b)(c)(?<name>d)$", "bcd", True),
        ("^a{2}$", "aa", True),
        ("^a{2,}$", "aaaa", True),
        ("^a{2,3}$", "aaaa", False),
        ("^a{0}b$", "b", True),
        ("^a+?b*?c??$", "aab", True),
        ("^(?:ab)*$", "abab", True),
        (r"^\p{L}+$", "éЖ", True),
        (r"^\P{L}$", "1", True),
        (r"^[\p{Lu}\d]+$", "Ж1", True),
        (r"^\p{Script=Greek}$", "α", True),
    ],
)
def test_an_expression_matches_as_in_ecmascript_with_ascii_sets(pattern: str, text: str, matches: bool) -> None:
    assert compile_regex(pattern).matches(text) is matches


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^0xab$", "0XAB", True),
        ("^[a-f]+$", "AbF", True),
        ("^[A-F]+$", "abf", True),
        ("^[Z-a]$", "z", True),
        ("^[^a]$", "A", False),
        ("^k$", "\u212a", False),  # KELVIN SIGN folds onto k in Unicode
        ("^[k]$", "\u212a", False),
        (r"^\w$", "\u017f", False),  # LATIN SMALL LETTER LONG S folds onto s
        ("^é$", "É", False),
        ("^[0-9_]$", "0", True),
    ],
)
def test_ignoring_case_concerns_ascii_letters_only(pattern: str, text: str, matches: bool) -> None:
    assert compile_regex(pattern, ignore_case=True).matches(text) is matches


@pytest.mark.parametrize(
    ("pattern", "position", "reason"),
    [
        ("a(?=b)", 1, "look-around"),
        ("(?!a)", 0, "look-around"),
        ("(?<=a)b", 0, "look-around"),
        ("(?<!a)b", 0, "look-around"),
        ("(?i)a", 0, "inline flags"),
        ("(?m:a$)", 0, "inline flags"),
        ("(?P<a>b)", 0, "inline flags"),
        ("(?<1>b)", 0, "inline flags"),
        (r"(a)\1", 3, "back-references"),
        (r"(?<n>a)\k<n>", 7, "back-references"),
        ("ab(c", 2, "not closed"),
        ("a)b", 1, "closes no group"),
        ("x[ab", 1, "not closed"),
        ("[", 0, "not closed"),
        ("[]", 0, "empty"),
        ("[^]", 0, "empty"),
        ("*a", 0, "nothing to repeat"),
        ("a|*", 2, "nothing to repeat"),
        ("(+)", 1, "nothing to repeat"),
        ("a**", 2, "nothing to repeat"),
        ("^*", 1, "nothing to repeat"),
        (r"\b+", 2, "nothing to repeat"),
        ("a{3,1}", 1, "from less to more"),
        ("a{2001}", 1, "up to 2000"),
        ("a{99999}", 1, "up to 2000"),
        ("{", 0, r"written \\{"),
        ("a{,3}", 1, r"written \\{"),
        ("}", 0, r"written \\}"),
        ("]", 0, r"written \\]"),
        ("[b-a]", 1, "backwards"),
        ("[a--b]", 1, "backwards"),  # the engine alone would read the difference of two sets
        (r"[\p{L}]{33}", 7, "too large"),
        (r"\q", 0, "unknown escape"),
        (r"\é", 0, "unknown escape"),
        ("a\\", 1, "unknown escape"),
        ("[\\", 1, "unknown escape"),
        (r"\c1", 0, "unknown escape"),
        (r"\00", 0, "unknown escape"),
        (r"\x4", 0, "by number"),
        (r"\u12", 0, "by number"),
        (r"\ud800", 0, "no character"),
        (r"\u{110000}", 0, "no character"),
        (r"a\pL", 1, "property"),
        (r"a\p{Nonsense}", 1, "engine does not support"),
        ("(?:a{2000}){3}", 11, "too large"),
        (r"\p{L}{33}", 5, "too large"),
        ("a" * (MAX_PATTERN + 1), MAX_PATTERN, "1024 characters"),
    ],
)
def test_what_is_not_supported_is_refused_with_its_position(pattern: str, position: int, reason: str) -> None:
    with pytest.raises(RegexError, match=reason) as caught:
        compile_regex(pattern)
    assert caught.value.position == position
    assert str(caught.value).endswith(f"at position {position}")


def test_only_text_matches() -> None:
    matcher = compile_regex("^a*$").matches
    assert matcher("a" * MAX_TEXT)
    assert not matcher(None)
    assert not matcher(1)
    assert not matcher(b"a")


def test_the_largest_expressions_that_are_accepted_still_compile() -> None:
    for pattern in (r"\p{L}{32}", "[^a]{1024}", "(?:a{1024}){2}", r"[\p{L}\p{N}]{15}"):
        expression = compile_regex(pattern)
        assert expression.size <= MAX_SIZE
        assert not expression.matches("")
