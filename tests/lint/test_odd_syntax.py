"""Whatever the text, the lint ends with findings and never with a traceback."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirepoix.lint.inspect import NOT_PYTHON, inspect

PIECES = st.sampled_from(
    [
        *("charge", "self", "order", ".", ".delay(", ".get(", ".retry(", ".objects", ")", "(", "[", "]", "{", "}", ":"),
        *(
            "\n",
            "\n    ",
            "    ",
            "try",
            "except",
            "with ",
            "transaction.atomic()",
            "def f",
            "class T",
            "@app.task",
            "=",
        ),
        *(
            "lambda x",
            "async ",
            "await ",
            "for o in ",
            "import ",
            "from celery ",
            "# noqa",
            "# noqa: MP0",
            "\x00",
            "\t",
        ),
        *(
            "é",
            "'",
            '"""',
            "f'{",
            "\\",
            "match x",
            "case _",
            "global x",
            "*",
            "**",
            ",",
            "raise ",
            "x := ",
            "\r",
            "\ufeff",
        ),
    ]
)
ODD = [
    "",
    "# delay",
    "delay",
    "x = (yield)\ncharge.delay",
    "*charge.delay().x, y = 1, 2",
    "[charge.delay(x) for x in y for z in x]",
    "a.b[c].d = charge.delay(*[], **{})",
    "with a as (b, c), d as e.f: charge.delay(b)",
    "for a.b in charge.delay(): pass",
    "del charge.delay",
    "try: pass\nexcept* (ValueError, Exception): charge.delay()",
    "match charge.delay():\n case {'a': [*_, b], **rest}: pass",
    "def f(a, /, b, *, c, **d):\n global e\n charge.delay(a, b, e)",
    "@(lambda f: f)\n@app.task()()\n@x[0].task\ndef task(): self.retry()",
    "class T(a.b, *c, metaclass=d): task = property(lambda self: self.delay(self))",
    "async def f():\n async for task in x: await task.delay(task)\n return [await t async for t in y]",
    "f'{charge.delay(1)!r:{width}}'",
    "task: int\ntask: int = charge.delay(task)",
    "a = a.delay = charge.delay(a)",
    "a = b\nb = a\ndef f():\n x = y\n y = x\n x.delay(y); x.get()",
    "headers = {**a, 1: 2, b'Idempotency-Key': 3, None: task}",
]


@pytest.mark.parametrize("text", ODD)
def test_odd_but_right_syntax_is_borne(text):
    ast.parse(text)
    assert [one for one in inspect(text) if one.code == NOT_PYTHON] == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"charge.delay(\n", 1),
        (b"import a\ndef delay:\n", 2),
        (b"charge.delay()\x00", 1),
        (b"# -*- coding: no-such -*-\ndelay", 1),
        (b"delay = '\xff'\n", 1),
        (b"charge.delay(" + b"(" * 5000, 1),
        (b"delay = " + b"-" * 60000 + b"1", 1),
    ],
    ids=range(7),
)
def test_what_is_no_python_is_one_finding_with_its_line(text, line):
    (found,) = inspect(text)
    assert found.code == NOT_PYTHON
    assert found.line in (line, 1)
    assert found.message


def test_another_encoding_than_utf8_is_read():
    text = "# -*- coding: latin-1 -*-\nfrom shop import charge\ncharge.delay(Order.objects.get(name='é'))\n"
    assert [one.code for one in inspect(text.encode("latin-1"))] == ["MP001"]


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_any_text_ends_with_findings(text):
    for one in inspect(text + "\n#task"):
        assert one.line >= 1
        assert one.column >= 1


def test_the_standard_library_is_borne():
    folder = Path(sysconfig.get_path("stdlib"))
    for name in ("typing", "dataclasses", "enum", "subprocess", "asyncio/tasks", "multiprocessing/pool", "argparse"):
        assert inspect((folder / f"{name}.py").read_bytes() + b"\n# task\n") == []


def test_deep_nesting_is_borne():
    chain = "x" + ".a()" * 150 + ".delay()"
    sums = "charge.delay(" + "+".join(["x"] * 900) + ")"
    for text in (chain, sums, "charge.delay(" + "[" * 80 + "]" * 80 + ")"):
        assert all(one.code == NOT_PYTHON for one in inspect(f"from celery import shared_task\ndef f():\n    {text}"))
