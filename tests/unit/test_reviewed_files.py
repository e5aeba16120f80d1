"""Files that people look through and give back: names of clusters, and intents, as a spreadsheet saves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from questream.records.rows import QuestionFileError
from questream.tools.intent_files import read_intents
from questream.tools.naming_files import read_namings


def written(folder: Path, name: str, content: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("header", ["cluster_id;label;route", "Cluster_ID;LABEL;Route", " cluster_id ; Label ; route "])
def test_capitals_of_columns_do_not_count(tmp_path: Path, header: str, encoding: str) -> None:
    path = written(tmp_path, "names.csv", f"{header}\r\nc7;Cards;'=cards\r\n", encoding)
    assert read_namings(path, "default") == {7: ("Cards", "=cards")}


def test_capitals_of_the_columns_of_intents_do_not_count(tmp_path: Path) -> None:
    table = written(tmp_path, "intents.csv", "Name,Route,EXAMPLES\nCards,desk,Where is my card?\n")
    lines = written(
        tmp_path, "intents.jsonl", '{"Name": "Cards", "Route": "desk", "Examples": ["Where is my card?"]}\n'
    )
    for path, line in ((table, 2), (lines, 1)):
        (intent,) = read_intents(path)
        assert (intent.name, intent.route, intent.examples) == ("Cards", "desk", [(line, "Where is my card?")])


@pytest.mark.parametrize("name", ["label", "route", "namespace", "cluster_id"])
def test_a_column_that_is_there_twice_names_no_cluster(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, "names.csv", f"cluster_id,label,route,namespace,{name.title()}\nc7,a,b,default,c\n")
    with pytest.raises(QuestionFileError, match=f'line 1: two columns "{name}"'):
        read_namings(path, "default")


@pytest.mark.parametrize("name", ["name", "route", "examples"])
def test_a_column_that_is_there_twice_is_no_intents(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, "intents.csv", f"name,route,examples,{name}\na,b,c,d\n")
    with pytest.raises(QuestionFileError, match=f'line 1: two columns "{name}"'):
        read_intents(path)


def test_a_threshold_is_read_whatever_its_capitals(tmp_path: Path) -> None:
    (intent,) = read_intents(written(tmp_path, "intents.csv", "name,Threshold\nCards,0.5\n"))
    assert intent.threshold == 0.5
