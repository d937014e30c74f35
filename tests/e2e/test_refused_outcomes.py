"""Outcomes that the database does not take: kept until it does, or recorded as a failure where it never will."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import chord
from celery.exceptions import ChordError
from workers import Shop, until

pytestmark = pytest.mark.slow

TRIGGERS = {
    "sqlite": """CREATE TRIGGER {name} BEFORE INSERT ON {table} WHEN {condition}
                 BEGIN SELECT RAISE(ABORT, 'not this one'); END""",
    "mysql": """CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW
                IF {condition} THEN SIGNAL SQLSTATE '45000' SET message_text = 'not this one'; END IF""",
    "postgresql": """CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN IF {condition} THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;\n
                     CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()""",
}


def refuse(shop: Shop, table: str, condition: str) -> None:
    """Let the database refuse rows of *table* that fulfil the condition, for what is in them."""
    with shop.ledger.connection.transaction() as tx:
        sql = TRIGGERS[tx.dialect].format(name=f"refuse_{table}", table=table, condition=condition)
        for statement in sql.split(";\n\n"):
            tx.query(statement.replace(":=", "="))


def test_what_cannot_be_written_fails_alone(shop: Shop) -> None:
    """A result that no column takes, a link and a chord's body: the worker and all other completions are unharmed."""
    refuse(shop, "mirepoix_result", "NEW.task_id = 'bad' AND NEW.status = 'SUCCESS'")
    refuse(shop, "mirepoix_task", "NEW.id IN ('link', 'body')")
    worker = shop.worker(concurrency=4)
    good = [shop.app.send_task("shop.add", (1, number)) for number in range(10)]
    bad = shop.app.send_task("shop.add", (1, 1), task_id="bad")
    linking = shop.send("add", 1, 1, link=shop.task("note").set(task_id="link"))
    header = [shop.task("add", 1, number).set(task_id=f"member-{number}") for number in range(2)]
    body = chord(header, shop.task("collect").set(task_id="body"), app=shop.app).delay()
    assert [result.get(timeout=25) for result in good] == list(range(1, 11))
    with pytest.raises(Exception, match=r"its success cannot be written: .*not this one"):
        bad.get(timeout=25)
    with pytest.raises(ChordError, match=r"its body cannot be written: .*not this one"):
        body.get(timeout=25)
    shop.wait([bad.id, linking], "failed")
    shop.wait(["member-0", "member-1"], "succeeded")
    (attempt,) = shop.ledger.history("bad")
    assert attempt["error_type"] == "mirepoix.errors.OutcomeRefused"
    assert "not this one" in attempt["traceback"]
    assert worker.is_running
    assert {shop.runs(id) for id in ("bad", linking, "member-0", "member-1", *(one.id for one in good))} == {1}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_cannot_be_written_now_is_written_as_soon_as_it_can(shop: Shop, pool: str) -> None:
    """Tables that are away for a while stand for whatever else nobody expected: a privilege, a migration half done."""
    worker = shop.worker(pool=pool)
    ids = [shop.send("fail"), shop.send("gate", "open"), shop.send("gate", "open", link=shop.task("note"))]
    shop.wait(ids[0], "failed")
    for id in ids[1:]:
        shop.begun(id)
    until(lambda: [shop.state(id) for id in ids[1:]] == ["running"] * 2, "their start is noted")
    for table in ("result", "attempt", "edit"):
        shop.ledger.write(f"ALTER TABLE mirepoix_{table} RENAME TO away_{table}")
    shop.make("open")
    until(lambda: worker.said.count("cannot be recorded yet") >= 2, "it says that it cannot record them")
    assert [shop.state(id) for id in ids[1:]] == ["running"] * 2
    for table in ("result", "attempt", "edit"):
        shop.ledger.write(f"ALTER TABLE away_{table} RENAME TO mirepoix_{table}")
    shop.wait(ids[1:], "succeeded")
    after = shop.send("note")
    shop.wait(after, "succeeded")
    assert {shop.runs(id) for id in (*ids, after)} == {1}
    assert worker.is_running


def test_a_ledger_that_takes_nothing_is_not_tried_all_the_time(sqlite_url: str, tmp_path: Path) -> None:
    """A server that is read-only answers whoever connects, and refuses what follows."""
    with Shop(tmp_path / "shop", sqlite_url) as shop:
        worker = shop.worker(concurrency=1)
        shop.ledger.write("CREATE TRIGGER refuse BEFORE UPDATE ON mirepoix_task BEGIN SELECT RAISE(ABORT, 'no'); END")
        id = shop.send("note")
        until(lambda: worker.said.count("Connection to broker lost") >= 7, "it tries again and again")
        assert "Frequent restarts detected" not in worker.said
        shop.ledger.write("DROP TRIGGER refuse")
        shop.wait(id, "succeeded")
        assert worker.is_running


def test_processes_that_have_too_few_connections_take_turns(postgresql_url: str, tmp_path: Path) -> None:
    role = f"limited_{postgresql_url.rpartition('/')[2]}"
    with Shop(tmp_path / "shop", postgresql_url) as shop:
        shop.ledger.write(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 6")
        for what in ("TABLES", "SEQUENCES"):
            shop.ledger.write(f"GRANT ALL ON ALL {what} IN SCHEMA public TO {role}")
        shop.url = postgresql_url.replace("mirepoix@", f"{role}@")
        worker = shop.worker(concurrency=4)
        ids = [shop.send("fail") for _ in range(24)]
        worker.says("A worker needs 6, and for each process or thread of its pool 1")
        shop.wait(ids, "failed")
        worker.stop()
        shop.ledger.write(f"DROP OWNED BY {role}")
        shop.ledger.write(f"DROP ROLE {role}")
