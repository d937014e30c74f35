"""Tasks that write with SQLAlchemy, on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest
from corpus import alchemy
from corpus.alchemy import Account, Base
from corpus.apps import plain
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from mirepoix.crashtest.check import NotSafe


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, monkeypatch):
    own = alchemy.engine
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url").replace("postgresql://", "postgresql+psycopg://")
        own = create_engine(url)
        monkeypatch.setattr(alchemy, "engine", own)
    Base.metadata.drop_all(own)
    Base.metadata.create_all(own)
    with Session(own) as session, session.begin():
        session.add(Account(id=1))
    yield own
    own.dispose()


def test_all_that_is_planted_is_found_and_nothing_else(engine, crashpoints):
    for name, expected in alchemy.EXPECTED.items():
        try:
            report = crashpoints(
                plain.tasks[name], 1, state=engine, django=False, http=lambda method, url, body: {"id": "charged"}
            )
            found = set()
        except NotSafe as error:
            report = str(error)
            found = {code for code in expected | set(ALL) if f"allow: {code!r}" in report}
        assert found == expected, f"{name}\n{report}"


ALL = [code for codes in alchemy.EXPECTED.values() for code in codes]


def test_afterwards_everything_is_as_it_was(engine, crashpoints):
    with pytest.raises(NotSafe):
        crashpoints(alchemy.deposit, 1, state=engine, django=False)
    with Session(engine) as session:
        assert session.scalars(select(Account.balance)).all() == [100]
