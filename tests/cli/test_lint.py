"""`mirepoix lint`: what it prints, how it ends, and what silences it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from mirepoix.cli.main import mirepoix
from mirepoix.lint.rules import RULES

ROOT = Path(__file__).parent.parent.parent
BAD, INFO, GOOD = RULES["MP002"].bad, RULES["MP010"].bad, RULES["MP002"].good


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path = path.with_name("pyproject.toml") if name == "pyproject" else path.with_suffix(".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    return write


def run(*words, code):
    result = CliRunner().invoke(mirepoix, ["lint", *words], env={"MIREPOIX_APP": None, "MIREPOIX_LEDGER": None})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_a_finding_is_a_line_and_the_exit_code_1(project):
    project(shop=BAD, fine=GOOD)
    result = run(code=1)
    assert result.stdout == (
        "shop.py:7:9: MP002 charge.delay() sends before atomic() commits; send with on_commit(), or keep a ledger\n"
    )
    assert result.stderr == "1 finding in 2 files.\n"


def test_infos_alone_are_no_failure(project):
    project(shop=INFO)
    assert "MP010 [info]" in run(code=0).stdout


def test_nothing_found_is_0(project):
    project(shop=GOOD)
    assert run("shop.py", code=0).stdout == ""


def test_the_code_is_not_imported(project, tmp_path):
    project(shop=f"open({str(tmp_path / 'ran')!r}, 'w')\n" + BAD)
    run(code=1)
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_read_is_2_and_the_rest_is_told_all_the_same(project):
    project(shop=BAD, broken="def delay(:\n")
    result = run(code=2)
    assert "broken.py:1:" in result.stdout
    assert "MP000" in result.stdout
    assert "MP002" in result.stdout
    assert "could not be read" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "There is no 'nowhere' to lint"),
        (["--ignore", "MP999"], "there is no rule 'MP999'"),
        (["--explain", "X"], "there is no rule 'X'"),
    ],
)
def test_a_wrong_word_is_2_and_told(project, words, says):
    assert says in run(*words, code=2).stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.mirepoix.lint]\nignored = []", "has no 'ignored'"),
        ("[tool.mirepoix.lint]\nignore = 'MP002'", "must be a list of texts"),
        ("[tool.mirepoix.lint]\nledger = 1", "must be true or false"),
        ("[tool.mirepoix.lint]\nignore = ['MP0']", "there is no rule 'MP0'"),
        ("[tool", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_2_and_names_the_file(project, text, says):
    project(pyproject=text)
    error = run(code=2).stderr
    assert says in error
    assert "pyproject.toml" in error


@pytest.mark.parametrize(
    "text",
    [
        "[tool.mirepoix.lint]\nignore = ['mp002']",
        "[tool.mirepoix.lint]\nexclude = ['shop']",
        "[tool.mirepoix.lint]\nexclude = ['*/orders.py']",
        "[tool.mirepoix.lint]\nledger = true",
        "[project]\ndependencies = ['celery', 'mirepoix[postgres]>=0.1']",
        "[tool.poetry.dependencies]\nmirepoix = '*'",
    ],
)
def test_the_project_silences_what_it_decided_on(project, text):
    project(pyproject=text, shop__orders=BAD)
    run(code=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[project]\ndependencies = ['mirepoix-other']",
        "[dependency-groups]\ndev = ['mirepoix']",
        "[project]\ndependencies = ['mirepoix']\n[tool.mirepoix.lint]\nledger = false",
    ],
)
def test_without_a_ledger_sending_in_a_transaction_is_told(project, text):
    project(pyproject=text, shop__orders=BAD)
    run(code=1)
    run("--ignore", "MP001,MP002", code=0)


def test_a_project_that_installs_mirepoix_keeps_a_ledger(project):
    project(a_shop=BAD, z_app="import mirepoix\nmirepoix.install(app)\n")
    assert json.loads(run("--format", "json", code=0).stdout) == {"files": 2, "keeps_ledger": True, "findings": []}


def test_folders_of_tools_are_left_out_and_no_file_is_told_twice(project):
    project(shop=BAD, node_modules__x=BAD, build__x=BAD)
    assert run(".", "shop.py", code=1).stderr == "1 finding in 1 file.\n"


def test_programs_get_json_annotations_and_sarif(project):
    project(shop=BAD)
    (found,) = json.loads(run("--format", "json", code=1).stdout)["findings"]
    assert (found["path"], found["line"], found["column"], found["code"]) == ("shop.py", 7, 9, "MP002")
    assert run("--format", "github", code=1).stdout.startswith("::error file=shop.py,line=7,col=9,title=MP002::charge")
    sarif = json.loads(run("--format", "sarif", code=1).stdout)
    assert sarif["version"] == "2.1.0"
    assert sarif["runs"][0]["results"][0]["ruleId"] == "MP002"
    assert [one["id"] for one in sarif["runs"][0]["tool"]["driver"]["rules"]] == list(RULES)


def test_each_rule_explains_itself():
    for code, rule in RULES.items():
        assert rule.reason in run("--explain", code.lower(), code=0).stdout
    assert run("--explain", "all", code=0).stdout.count("\n## ") == len(RULES) - 1


def test_the_hook_runs_a_command_that_is_installed():
    hook = (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")
    (entry,) = [line.split(":")[1].split() for line in hook.splitlines() if "entry:" in line]
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert entry[0] in scripts
    assert entry[1] in mirepoix.commands
