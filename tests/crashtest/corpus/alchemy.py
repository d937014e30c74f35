"""Tasks that write with SQLAlchemy."""

from __future__ import annotations

import requests
from corpus.apps import plain
from sqlalchemy import ForeignKey, create_engine, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
EXPECTED: dict[str, set[str]] = {}
PAY = "https://pay.example/charges"


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(default=100)
    charge: Mapped[str] = mapped_column(default="")


class Entry(Base):
    __tablename__ = "entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    amount: Mapped[int]
    key: Mapped[str | None] = mapped_column(unique=True)


def task(*codes):
    def register(function):
        made = plain.task(shared=False)(function)
        EXPECTED[made.name] = set(codes)
        return made

    return register


@task("changed-row:account.balance")
def deposit(account):
    with Session(engine) as session, session.begin():
        session.get(Account, account).balance += 10


@task("lost-row:entry")
def deposit_in_two_commits(account):
    with Session(engine) as session:
        found = session.get(Account, account)
        if found.balance == 110:
            return
        found.balance = 110
        session.commit()
        session.add(Entry(account_id=account, amount=10))
        session.commit()


@task("duplicate-row:entry")
def add_entries(account):
    with Session(engine) as session:
        for number in range(3):
            session.add(Entry(account_id=account, amount=number))
            session.commit()


@task(f"duplicate-http:POST {PAY}")
def charge_in_a_session(account):
    with Session(engine) as session, session.begin():
        found = session.get(Account, account)
        if not found.charge:
            found.charge = requests.post(PAY, json={"account": account}, timeout=5).json()["id"]


@task("fails:IntegrityError")
def insert_a_key(account):
    with engine.begin() as connection:
        connection.execute(Entry.__table__.insert(), {"account_id": account, "amount": 1, "key": "once"})


@task()
def set_the_balance(account):
    with engine.begin() as connection:
        connection.execute(update(Account).where(Account.id == account).values(balance=7))
    with engine.begin() as connection:
        connection.execute(update(Account).where(Account.id == account).values(charge="none"))


@task()
def insert_unless_there(account):
    with Session(engine) as session, session.begin():
        if session.scalar(select(Entry).where(Entry.key == "once")) is None:
            session.add(Entry(account_id=account, amount=1, key="once"))
            session.get(Account, account).balance += 1


@task()
def writes_and_rolls_back(account):
    with Session(engine) as session:
        session.get(Account, account).balance = 0
        session.flush()
        session.rollback()
        session.get(Account, account).charge = "none"
        session.commit()
