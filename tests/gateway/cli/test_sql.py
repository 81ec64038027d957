"""`canopy sql`, and what its guide says."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from tests.gateway.cli.conftest import PASSWORD, Node, Type

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "ask-with-sql.md"
QUESTIONS = re.findall(r"^```sql\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def owner(node: Node, type_in: Type, monkeypatch: pytest.MonkeyPatch) -> Type:
    """The owner, who has said something; registered once for the module."""
    monkeypatch.setenv("CANOPY_URL", node.url)
    monkeypatch.setenv("CANOPY_PASSWORD", PASSWORD)
    kept = node.directory.parent / "key"
    if not kept.exists():
        made = type_in("user", "add", "ann", "--json")
        assert made.code == 0, made.err
        kept.write_text(made.json["api_key"])
        monkeypatch.setenv("CANOPY_API_KEY", kept.read_text())
        assert type_in("post", "general", "Is [bold]this\x1b[31m read?").code == 0
    monkeypatch.setenv("CANOPY_API_KEY", kept.read_text())
    return type_in


def test_the_guide_asks_five_questions() -> None:
    assert len(QUESTIONS) == 5


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_the_guide_asks_is_answered(owner: Type, question: str) -> None:
    answered = owner("sql", question, "--json")

    assert answered.code == 0, answered.err
    assert answered.json["columns"]


def test_an_answer_is_a_table_that_no_terminal_obeys(owner: Type) -> None:
    said = owner("sql", "SELECT content AS c, NULL AS n, $1 AS p FROM messages", "7")

    assert said.code == 0, said.err
    assert [line.split() for line in said.out.splitlines()][:2] == [
        ["c", "n", "p"],
        ["Is", "[bold]this␛[31m", "read?", "∅", "7"],
    ]
    assert "1 row at position" in said.out


def test_an_answer_is_csv(owner: Type) -> None:
    said = owner("sql", "--csv", "SELECT 'a,b' AS x, NULL AS y, true AS z, [1, 2] AS l")

    assert list(csv.reader(io.StringIO(said.out))) == [
        ["x", "y", "z", "l"],
        ["a,b", "", "true", "[1,2]"],
    ]


def test_the_views_are_shown(owner: Type) -> None:
    said = owner("sql")

    assert said.code == 0
    assert "message_versions" in said.out
    assert "Whether the content is sealed" in said.out


def test_the_past_is_asked_about(owner: Type) -> None:
    assert owner("sql", "SELECT count(*) FROM messages", "--json").json["rows"] == [[1]]
    first = owner("sql", "SELECT min(seq) FROM messages", "--json").json["rows"][0][0]
    then = owner("sql", "SELECT count(*) FROM messages", "--at", str(first - 1), "--json")
    assert (then.json["position"], then.json["rows"]) == (first - 1, [[0]])


def test_a_refusal_says_why(owner: Type) -> None:
    said = owner("sql", "SELECT * FROM api_key")

    assert said.code == 3
    assert "There is no view 'api_key'" in said.err


def test_a_parameter_is_the_text_that_was_typed(owner: Type) -> None:
    words = ("7", "1e5", "true", "null", "99999999999999999999999999", '"x"')
    said = owner("sql", "--json", "SELECT $1, $2, $3, $4, $5, $6, $1::INT + 1", *words)

    assert said.code == 0, said.err
    assert said.json["rows"] == [[*words, 8]]
    assert owner("sql", "--json", "SELECT $1", "--", "-5").json["rows"] == [["-5"]]


def test_parameters_of_other_types_are_one_json_list(owner: Type) -> None:
    typed = '[-5, 99999999999999999999, true, null, "42"]'
    said = owner("sql", "--json", "SELECT $1, $2::VARCHAR, $3, $4, $5", "--parameters", typed)

    assert said.code == 0, said.err
    assert said.json["rows"] == [[-5, "99999999999999999999", True, None, "42"]]


@pytest.mark.parametrize("words", [("[1",), ("{}",), ("7",), ("[1]", "x")])
def test_parameters_are_told_in_one_way(owner: Type, words: tuple[str, ...]) -> None:
    said = owner("sql", "SELECT $1", "--parameters", *words)

    assert said.code == 2
    assert "--parameters" in said.err
