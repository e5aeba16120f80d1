"""Files of questions, in each format and with each mistake."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from questream.records.files import FileQuestion, holds_pairs, read_pairs, read_questions
from questream.records.rows import QuestionFileError, read_rows

SECRET = "why was my card stolen"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_text_lines_are_questions_named_by_their_line(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.txt", "Where is my card?\n\n   \n  ¿Dónde está? \r\nlast, without a newline")
    assert list(read_questions(path)) == [
        FileQuestion("mine-1", "Where is my card?", None),
        FileQuestion("mine-4", "¿Dónde está?", None),
        FileQuestion("mine-5", "last, without a newline", None),
    ]


@pytest.mark.parametrize("name", ["q.jsonl", "q.ndjson", "q.json", "q", "q.log"])
def test_json_lines_are_known_by_suffix_or_first_character(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, '\n{"id": "a", "text": "one", "gold": "g", "more": 1}\n\n{"text": "two", "id": 7}\n')
    assert list(read_questions(path)) == [FileQuestion("a", "one", "g"), FileQuestion("7", "two", None)]


@pytest.mark.parametrize(("name", "delimiter"), [("q.csv", ","), ("q.csv", ";"), ("q.tsv", "\t")])
def test_tables_are_read_by_their_header_whatever_their_delimiter(tmp_path: Path, name: str, delimiter: str) -> None:
    rows = [["gold", "Text", "id"], ["g", '"one, two; three\nfour"', "a"], ["", "five", ""]]
    path = written(tmp_path, name, "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n")
    assert list(read_questions(path)) == [
        FileQuestion("a", "one, two; three\nfour", "g"),
        FileQuestion("q-4", "five", None),
    ]


def test_a_table_with_one_column_is_a_table(tmp_path: Path) -> None:
    assert list(read_questions(written(tmp_path, "q.csv", 'text\n"one, two"\n'))) == [
        FileQuestion("q-2", "one, two", None)
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("q.txt", "one"), ("q.jsonl", '{"text": "one"}'), ("q.csv", "text\none")]
)
def test_a_byte_order_mark_is_no_part_of_the_first_question(tmp_path: Path, name: str, content: str) -> None:
    assert [q.text for q in read_questions(written(tmp_path, name, b"\xef\xbb\xbf" + content.encode()))] == ["one"]


@pytest.mark.parametrize("name", ["q.jsonl", "q.csv"])
def test_an_empty_text_is_left_to_the_stream(tmp_path: Path, name: str) -> None:
    content = '{"id": "a", "text": ""}' if name == "q.jsonl" else "id,text\na,"
    assert list(read_questions(written(tmp_path, name, content))) == [FileQuestion("a", "", None)]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("q.txt", b"fine\n" + SECRET.encode() + b"\xff\n", 2),
        ("q.jsonl", f'{{"text": "fine"}}\n{{"text": "{SECRET}"\n', 2),
        ("q.jsonl", f'["{SECRET}"]\n', 1),
        ("q.jsonl", f'{{"text": ["{SECRET}"]}}\n', 1),
        ("q.jsonl", f'{{"question": "{SECRET}"}}\n', 1),
        ("q.jsonl", f'{{"text": "{SECRET}", "id": ["{SECRET}"]}}\n', 1),
        ("q.jsonl", f'{{"text": "{SECRET}", "gold": true}}\n', 1),
        ("q.csv", f"id,question\n1,{SECRET}\n", 1),
        ("q.csv", "", 1),
        ("q.csv", f"id,text\n1,fine\n2,{SECRET},3\n", 3),
        ("q.csv", f'id,text\n1,fine\n2,"two\nlines"\n3,"{SECRET}\n', 5),
        ("q.csv", b"id,text\n1,fine\n2," + SECRET.encode() + b"\xff\n", 3),
    ],
)
def test_a_mistake_is_named_by_its_line_and_never_quoted(
    tmp_path: Path, name: str, content: str | bytes, line: int
) -> None:
    with pytest.raises(QuestionFileError, match=f"{name}, line {line}:") as caught:
        list(read_questions(written(tmp_path, name, content)))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_what_was_read_before_a_mistake_has_been_yielded(tmp_path: Path) -> None:
    reading = read_questions(written(tmp_path, "q.jsonl", '{"text": "one"}\nnonsense\n'))
    assert next(reading).text == "one"
    with pytest.raises(QuestionFileError):
        next(reading)


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path if kind == "folder" else tmp_path / "missing.txt"
    with pytest.raises(QuestionFileError, match=path.name):
        next(read_questions(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl", '{"a": "Where?", "b": "When?", "label": 0}\n{"a": "Who?", "b": "Who is it?", "label": true}\n'),
        ("p.csv", "text_a,text_b,label\nWhere?,When?,0\nWho?,Who is it?,1\n"),
        ("p.tsv", "id\tquestion1\tquestion2\tis_duplicate\n1\tWhere?\tWhen?\t0\n2\tWho?\tWho is it?\t1\n"),
    ],
)
def test_pairs_are_read_under_the_names_that_data_sets_give_them(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert list(read_pairs(tmp_path / name)) == [("Where?", "When?", False), ("Who?", "Who is it?", True)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"a": "Where?", "label": 0}', 'line 1: no strings "text_a" and "text_b"'),
        ('{"a": "Where?", "b": "When?", "label": 0.7}', 'line 1: no "label" that is 1 (the same question) or 0'),
        ('{"a": "Where?", "b": "When?"}', 'line 1: no "label"'),
    ],
)
def test_a_pair_that_does_not_fit_is_refused_with_its_line_and_not_its_text(
    tmp_path: Path, content: str, told: str
) -> None:
    (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(QuestionFileError) as refused:
        list(read_pairs(tmp_path / "p.jsonl"))
    assert told in str(refused.value)
    assert "Where" not in str(refused.value)


def test_the_moment_of_a_question_is_a_number_or_iso_8601_and_else_unknown(tmp_path: Path) -> None:
    moments = ["1577847120", "2020-01-01 02:52", "2020-01-01T03:52:00+01:00", "yesterday", "nan", ""]
    path = written(tmp_path, "q.csv", "text,ts\n" + "".join(f"q,{moment}\n" for moment in moments))
    assert [q.asked_at for q in read_questions(path)] == [1577847120.0] * 3 + [None] * 3
    path = written(tmp_path, "q.jsonl", '{"text": "q", "timestamp": 17}\n{"text": "q", "ts": [1]}\n{"text": "q"}\n')
    assert [q.asked_at for q in read_questions(path)] == [17.0, None, None]


@pytest.mark.parametrize(
    ("name", "content", "pairs"),
    [
        ("q.csv", "question1,question2,is_duplicate\na,b,1\n", True),
        ("q.jsonl", '{"a": "one", "b": "two", "label": 0}\n', True),
        ("q.csv", "text,gold,a,b\nq,g,1,2\n", False),
        ("q.jsonl", '{"text": "q", "gold": "g"}\n', False),
        ("q.txt", "anchor positive label\n", False),
        ("q.jsonl", "", False),
    ],
)
def test_pairs_are_told_from_questions_by_their_columns(tmp_path: Path, name: str, content: str, pairs: bool) -> None:
    assert holds_pairs(written(tmp_path, name, content)) is pairs


def test_a_table_of_neither_pairs_nor_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuestionFileError, match="line 1"):
        holds_pairs(written(tmp_path, "q.csv", "title,body\na,b\n"))


TABLE = [["id", "text"], ["a", "one"], ["b", '"two ""quoted"", with a comma"'], ["c", "我的卡"]]
READ = [FileQuestion("a", "one", None), FileQuestion("b", 'two "quoted", with a comma', None)]
READ += [FileQuestion("c", "我的卡", None)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "mac"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_is_read_in_every_encoding_with_every_end_of_line(
    tmp_path: Path, delimiter: str, encoding: str, end: str
) -> None:
    content = end.join(delimiter.join(row) for row in TABLE)
    path = written(tmp_path, "q.csv", (content + end).encode(encoding))
    assert list(read_questions(path)) == READ


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "mac"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t", "^"])
def test_the_first_line_of_a_spreadsheet_says_the_delimiter(tmp_path: Path, delimiter: str, end: str) -> None:
    rows = [f"sep={delimiter}", delimiter.join(["id", "text"]), delimiter.join(["a", "one"]), delimiter.join("bc")]
    path = written(tmp_path, "q.csv", end.join(rows).encode("utf-8-sig"))
    assert list(read_questions(path)) == [FileQuestion("a", "one", None), FileQuestion("b", "c", None)]
    broken = written(tmp_path, "b.csv", end.join([*rows, "x"]))
    with pytest.raises(QuestionFileError, match="line 5: 1 values for 2 columns"):
        list(read_questions(broken))


@pytest.mark.parametrize("name", ["q", "q.dat", "q.csv"])
def test_a_table_is_known_by_its_header(tmp_path: Path, name: str) -> None:
    assert list(read_questions(written(tmp_path, name, "Id;Text\na;one\n"))) == [FileQuestion("a", "one", None)]


ARRAYS = [
    '[{"id": "a", "text": "one"}, {"id": "b", "text": "two"}]',
    '\n[\n  {\n    "id": "a",\n    "text": "one"\n  },\n  {"id": "b",\n"text": "two"}\n]\n',
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["q.json", "q"])
@pytest.mark.parametrize("content", ARRAYS, ids=["one-line", "pretty"])
def test_an_array_of_objects_is_a_file_of_questions(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    path = written(tmp_path, name, content.encode(encoding))
    assert list(read_questions(path)) == [FileQuestion("a", "one", None), FileQuestion("b", "two", None)]


def test_an_array_may_hold_texts_alone_or_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "q.json", '["one",\r\n"two"]')
    assert list(read_questions(path)) == [FileQuestion("q-1", "one", None), FileQuestion("q-2", "two", None)]
    assert list(read_questions(written(tmp_path, "e.json", "[ ]"))) == []


def test_an_array_on_one_line_is_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "q.json", "[" + ",".join('{"text": "' + "x" * 1000 + '"}' for _ in range(20_000)) + "]")
    assert sum(1 for _ in read_questions(path)) == 20_000


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('[{"text": "fine"},\n{"text": "SECRET]', 2),
        ('[{"text": "fine"}\n{"text": "SECRET"}]', 2),
        ('[{"text": "fine"},\n\n17]', 3),
        ('[{"text": "fine"}', 1),
        ('[{"text": "fine"},\n]', 2),
        ('[{"text": "fine"},\n{"text": "\\ud83d"}]', 2),
        ("[" * 100_000, 1),
    ],
)
def test_a_mistake_in_an_array_is_named_by_its_line(tmp_path: Path, content: str, line: int) -> None:
    path = written(tmp_path, "q.json", content.replace("SECRET", SECRET))
    with pytest.raises(QuestionFileError, match=f"line {line}: ") as caught:
        list(read_questions(path))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_long_value_and_null_characters_are_data(tmp_path: Path) -> None:
    long = "why " * 100_000
    path = written(tmp_path, "q.csv", f"id,text\na,{long}\nb,one\0two\n")
    assert [q.text for q in read_questions(path)] == [long, "one\0two"]


@pytest.mark.parametrize("name", ["q.csv", "q.jsonl", "q.txt", "q.json"])
def test_what_has_no_end_is_refused_before_it_fills_memory(tmp_path: Path, name: str) -> None:
    begin = {"q.csv": 'text\n"', "q.jsonl": '{"text": "', "q.txt": "", "q.json": '[{"text": "'}[name]
    path = written(tmp_path, name, begin + "x" * 17_000_000)
    with pytest.raises(QuestionFileError, match="line"):
        list(read_questions(path))


@pytest.mark.parametrize(
    ("name", "content", "refused"),
    [
        ("q.jsonl", b'{"text": "one"}\nno\n{"text": "t\xff"}\n{"text": "two"}\n', [2, 3]),
        ("q.csv", b"text,id\none,1\n\xff,2\nx\ntwo,3\n", [3, 4]),
        ("q.txt", b"one\n\xff\ntwo\n", [2]),
        ("q.json", b'[{"text": "one"},\n17,\n{"text": "two"}]', [2]),
    ],
)
def test_reading_goes_on_after_a_line_that_does_not_fit_where_it_is_asked_to(
    tmp_path: Path, name: str, content: bytes, refused: list[int]
) -> None:
    errors: list[QuestionFileError] = []
    rows = read_rows(written(tmp_path, name, content), [("text",)], refuse=errors.append)
    assert [row["text"] for _, row in rows] == ["one", "two"]
    assert [int(str(error).split("line ")[1].split(":")[0]) for error in errors] == refused


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QuestionFileError, match='line 1: two columns "text" in the header'):
        list(read_questions(written(tmp_path, "q.csv", "text,id,Text\na,b,c\n")))
    for name in ("id", "ts", "gold"):
        with pytest.raises(QuestionFileError, match=f'line 1: two columns "{name}" in the header'):
            list(read_questions(written(tmp_path, "q.csv", f"text,{name},{name.upper()}\na,b,c\n")))
    assert len(list(read_questions(written(tmp_path, "q.csv", "text,note,note\na,b,c\n")))) == 1


def test_a_path_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(QuestionFileError, match="cannot be the path of a file"):
        list(read_questions(Path("a\0b.csv")))


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "\ufeff\n"])
@pytest.mark.parametrize("name", ["q.txt", "q.jsonl", "q.json", "q"])
def test_a_file_with_nothing_in_it_holds_no_question(tmp_path: Path, name: str, content: str) -> None:
    assert list(read_questions(written(tmp_path, name, content))) == []


def test_stdin_is_read_from_its_beginning_each_time_once_it_was_kept(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from questream.records.files import holds_pairs, read_questions\n"
        "read = lambda: [q.text for q in read_questions(Path('-'))]\n"
        "print(holds_pairs(Path('-')), read(), len(read()))"
    )
    content = b'[{"text": "one", "gold": "a"}, {"text": "two"}]'
    path = written(tmp_path, "q.json", content)
    piped = subprocess.run([sys.executable, "-c", script], input=content, capture_output=True, timeout=60, check=True)
    with path.open("rb") as file:
        redirected = subprocess.run(
            [sys.executable, "-c", script], stdin=file, capture_output=True, timeout=60, check=True
        )
    assert piped.stdout == redirected.stdout == b"False ['one', 'two'] 2\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("q.csv.gz", gzip.compress(b"text\nwhy?\n", mtime=0), "compressed; unpack it first"),
        ("q.csv", gzip.compress(b"text\nwhy?\n", mtime=0), "compressed; unpack it first"),
        ("q.jsonl.bz2", bz2.compress(b'{"text": "why?"}\n'), "compressed; unpack it first"),
        ("q.jsonl.xz", lzma.compress(b'{"text": "why?"}\n'), "compressed; unpack it first"),
        ("q.xlsx", b"PK\x03\x04\x14\x00\x06\x00", "an archive or a workbook"),
        ("q.parquet", b"PAR1\x15\x04", "a Parquet file"),
    ],
)
def test_what_is_no_text_is_told_by_what_it_is(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (read_questions, read_pairs):
        with pytest.raises(QuestionFileError, match=rf"{re.escape(name)} is {said}"):
            list(read(path))


@pytest.mark.parametrize("rest", [' ,{"text": "b"}', '\n[{"text": "b"}]', "x", "]"])
def test_nothing_behind_an_array_is_passed_over_in_silence(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "q.json"
    for before in ('[{"text": "a"}]', "[]"):
        path.write_text(before + rest)
        with pytest.raises(QuestionFileError, match="the array's end is not the end of the file"):
            list(read_questions(path))
        path.write_text(f"{before}\n \t")
        list(read_questions(path))
