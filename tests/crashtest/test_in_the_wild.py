"""What tasks of public packages taught: code among the libraries, threads, names from the clock, long reports."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest
from corpus.apps import plain
from corpus.database import shop
from corpus.shop import Order, Tag
from django.core.mail import send_mail
from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

import mirepoix
from mirepoix.crashtest.check import explore
from mirepoix.crashtest.unusable import Unusable

copy_file = plain.task(shared=False, name="copies")(shutil.copyfile)
"""A task whose code is installed among the libraries."""


def test_the_lines_of_a_task_among_the_libraries_are_its_own_and_not_the_tests(tmp_path):
    (tmp_path / "from").write_text("x")
    report = explore(copy_file, (str(tmp_path / "from"), str(tmp_path / "to")), files=[tmp_path], django=False)
    assert {point.source.path for point in report.explored.points} == {shutil.__file__}


def test_the_failure_of_a_task_among_the_libraries_tells_its_line(tmp_path):
    with pytest.raises(Unusable, match=r"FileNotFoundError[\s\S]*shutil\.py"):
        explore(copy_file, (str(tmp_path / "from"), str(tmp_path / "to")), files=[tmp_path], django=False)


@plain.task(shared=False, name="mails_in_threads")
def mails_in_threads(order):
    if Order.objects.filter(pk=order, mailed=False).exists():
        with ThreadPool(2) as pool:
            pool.map(lambda whom: send_mail("Hello", "", None, [whom]), ["ann@example.com", "bob@example.com"])
        Order.objects.filter(pk=order).update(mailed=True)


def test_what_a_thread_of_the_task_does_is_noted_and_a_crash_after_it_is_tried(exploring, order):
    report = exploring(mails_in_threads, order)
    (finding,) = report.findings
    assert (finding.kind, finding.schedule.dies_at) == ("duplicate-mail", (0, "before"))
    assert "IN A THREAD" in str(report)
    assert "UNMODELLED" not in str(report)


@plain.task(shared=False, name="looks_in_a_thread")
def looks_in_a_thread(order):
    def look():
        connection.ensure_connection()
        BaseDatabaseWrapper.close(connections["default"])  # connection.close() keeps one that is in memory

    with ThreadPool(1) as pool:
        pool.apply(look)
    Order.objects.filter(pk=order).update(status="a")


def test_that_a_thread_uses_a_database_is_told_as_unmodelled(exploring, order):
    report = exploring(looks_in_a_thread, order)
    assert report.is_safe, report
    assert "UNMODELLED, no crash around it was tried: Django's database in a thread" in str(report)


@plain.task(shared=False, name="exports")
def exports(folder):
    Path(folder, f"orders-{time.time_ns()}.csv").write_text("1,2")
    Tag.objects.create(name="exported")


def test_a_file_that_is_named_by_the_clock_is_compared_by_the_rest_of_its_name(exploring, order):
    report = exploring(exports, order)
    assert {one.kind for one in report.findings} == {"duplicate-row", "left-file"}
    assert "file orders-<n>.csv: its name" in report.explored.masks


@plain.task(shared=False, name="locks")
def locks(folder):
    if not Tag.objects.filter(name="locked").exists():
        os.close(os.open(Path(folder, "lock"), os.O_CREAT | os.O_EXCL))
        Tag.objects.create(name="locked")


def test_a_file_of_os_open_is_a_place_to_die_after(exploring, order):
    report = exploring(locks, order)
    assert "fails:FileExistsError" in {one.code for one in report.findings}


@plain.task(shared=False, name="a name that is no name of Python's")
def newsletter(people, subject):
    for whom in people:
        send_mail(subject, "", None, [whom])


def test_what_one_line_does_many_times_is_one_finding_which_its_code_allows(order):
    people = [f"{number}@example.com" for number in range(9)]
    report = explore(newsletter, (people, "[Shop] News"))
    (finding,) = report.findings
    assert finding.words.startswith("0@example.com: [Shop] News is sent 2x")
    assert len(finding.consequences) == 8
    assert "give each its own name" in finding.remedy
    assert "rerun: crashpoints(newsletter, ..., at='end')" in str(report)
    assert explore(newsletter, (people, "[Shop] News"), allow=[finding.code]).findings == ()


def test_a_code_with_brackets_allows_what_it_names(order):
    (finding,) = explore(newsletter, (["ann@example.com"], "[Shop] News")).findings
    assert finding.code == "duplicate-mail:ann@example.com: [Shop] News"
    assert explore(newsletter, (["ann@example.com"], "[Shop] News"), allow=[finding.code]).findings == ()


@plain.task(shared=False, name="two_mails")
def two_mails():
    send_mail("Your report is being made", "", None, ["ann@example.com"])
    send_mail("It is ready", "", None, ["ann@example.com"])


def test_findings_are_told_in_the_order_in_which_the_task_does_things(order):
    report = explore(two_mails)
    assert [one.subject.partition(": ")[2] for one in report.findings] == ["Your report is being made", "It is ready"]


@plain.task(shared=False, name="lengthens")
def lengthens(order):
    found = Order.objects.get(pk=order)
    found.charge += "!"
    found.save()


def test_of_long_values_the_place_is_shown_where_they_differ(order):
    Order.objects.filter(pk=order).update(charge="x" * 70)
    (finding,) = explore(lengthens, (order,)).findings
    assert "xxx!! (clean run: ..." in finding.words


@plain.task(shared=False, name="closes_its_connection")
def closes_its_connection(order):
    Order.objects.filter(pk=order).update(status="a")
    connection.close()
    Tag.objects.create(name="after")


def test_a_task_may_close_its_connection_although_the_test_is_in_a_transaction_on_it(postgresql_url):
    with shop(postgresql_url, is_in_transaction=True) as order:
        report = explore(closes_its_connection, (order,))
        assert [one.kind for one in report.findings] == ["duplicate-row"]
        assert Tag.objects.count() == 0


@plain.task(shared=False, name="keeps_a_report")
def keeps_a_report(folder):
    """As a FileField does: another name where one is taken, and the name in the row."""
    name = "report.csv" if not Path(folder, "report.csv").exists() else f"report-{Order.objects.count()}.csv"
    Path(folder, name).write_text("1,2")
    Order.objects.update(charge=name)


def test_a_row_that_names_a_new_file_is_compared_by_what_the_file_holds(exploring, order):
    report = exploring(keeps_a_report, order, at="end")
    assert [(one.kind, one.severity) for one in report.findings] == [("left-file", "note")]


LETTERS = itertools.cycle("abcdefghijklmnopqrstuvwxyz")


@plain.task(shared=False, name="names_by_chance")
def names_by_chance(folder):
    """As a storage of Django's does where a name is taken."""
    name = f"report-{next(LETTERS)}z.csv" if Path(folder, "report.csv").exists() else "report.csv"
    os.close(os.open(Path(folder, name), os.O_CREAT))
    Order.objects.update(charge=name)
    Order.objects.update(status="done")


def test_what_is_left_in_one_folder_is_one_finding(exploring, order):
    (finding,) = exploring(names_by_chance, order).findings
    assert finding.code == "left-file:report-*z.csv"
    assert len(finding.consequences) == 2


def test_one_crash_is_tried_where_one_is_asked_for(exploring, order):
    assert len(exploring(names_by_chance, order, at="end").explored.tried) == 1
    assert len(exploring(names_by_chance, order, at="2:before").explored.tried) == 1


def test_what_a_task_leaves_alone_in_a_watched_folder_is_not_written_again(exploring, order, tmp_path):
    folder = tmp_path / "watched"
    (folder / "empty").mkdir()
    old, link = folder / "old.csv", folder / "link.csv"
    old.write_text("old")
    old.chmod(0o400)
    link.symlink_to(old)
    before = old.stat()
    exploring(exports, order)
    assert old.stat() == before
    assert link.is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == ["empty", "link.csv", "old.csv"]


@plain.task(shared=False, name="writes_a_summary")
def writes_a_summary(folder):
    """What it made in a transaction is gone, the number that it had is in the file: a dry run."""
    with transaction.atomic():
        made = Tag.objects.create(name="tried")
        transaction.set_rollback(True)
    Path(folder, "summary.txt").write_text(f"{made.pk} tried on {timezone.now().isoformat()}")
    Order.objects.update(status="tried")


def test_moments_and_numbers_of_new_rows_in_a_file_are_no_differences(exploring, postgresql_url):
    with shop(postgresql_url, is_in_transaction=True) as order:
        report = exploring(writes_a_summary, order)
    assert report.findings == (), report


@plain.task(shared=False, name="deletes", acks_late=False)
def deletes():
    Order.objects.update(status="a")
    Order.objects.all().delete()


def test_all_that_an_early_acknowledgement_leaves_undone_is_told(order):
    (finding,) = explore(deletes).findings
    assert finding.kind == "early-ack"
    assert f"corpus_order[{order}] is still there (a clean run deletes it)" in finding.consequences


@plain.task(shared=False, name="one_name_for_all")
def one_name_for_all(people):
    for whom in people:
        mirepoix.step("mail", send_mail, "News", "", None, [whom])


def test_a_name_of_a_step_that_is_used_twice_is_an_error_as_in_a_worker(order):
    with pytest.raises(Unusable, match="'mail' was called twice in one attempt of one_name_for_all"):
        explore(one_name_for_all, (["ann@example.com", "bob@example.com"],))


@plain.task(shared=False, name="steps_in_a_thread")
def steps_in_a_thread():
    with ThreadPool(1) as pool:
        pool.apply(mirepoix.step, ("mail", send_mail, "News", "", None, ["ann@example.com"]))
    Order.objects.update(status="a")


def test_a_step_in_a_thread_is_kept_as_little_as_in_a_worker(order):
    assert [one.kind for one in explore(steps_in_a_thread).findings] == ["duplicate-mail"]


@plain.task(shared=False, name="one_write", acks_late=False)
def one_write(order):
    Order.objects.filter(pk=order).update(status="a")


def test_an_early_acknowledged_task_of_one_write_can_be_lost_as_well(order):
    (finding,) = explore(one_write, (order,)).findings
    assert finding.kind == "early-ack"
    assert finding.schedule.dies_at == (0, "before")
