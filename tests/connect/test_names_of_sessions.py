"""Sessions of PostgreSQL bear the worker's name, for whoever looks at ``pg_stat_activity``."""

from __future__ import annotations

import pytest

from mirepoix.connect.url import source_for


@pytest.mark.parametrize(
    ("query", "name", "expected"),
    [
        ("", None, "mirepoix"),
        ("", "celery@web-1", "mirepoix celery@web-1"),
        ("", "w" * 100, "mirepoix " + "w" * 54),
        ("?application_name=shop", "celery@web-1", "shop"),
    ],
)
def test_a_session_is_named_after_its_worker_unless_the_url_names_it(postgresql_url: str, query, name, expected):
    source = source_for(postgresql_url + query)
    if name is not None:
        source.name_sessions(name)
    connection = source.open()
    with connection.reading() as tx:
        assert tx.query("SELECT current_setting('application_name')")[0][0] == expected
    connection.close()
    source.close()
