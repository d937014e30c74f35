"""Each channel, against a real server; what none of them may tell; and which words name them."""

from __future__ import annotations

import hashlib
import hmac
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from receivers import Hook, Postbox, events_of

from mirepoix.alerts.channels import channels
from mirepoix.alerts.deliver import frames
from mirepoix.config import Settings
from mirepoix.errors import ConfigurationError
from mirepoix.records import Alert

ALERT = Alert(
    "new_failure:abc",
    "new_failure",
    "abc",
    "ValueError: <b>no</b> such order (shop.pay)",
    name="shop.pay",
    task_id="t1",
    release="7.1",
    url="https://shop.example/admin/mirepoix/task/t1/change/",
    traceback='  File "shop.py", line 7, in pay\n    charge(order)',
)
TOLD: list[Alert] = []


def tell(to: str, alert: Alert = ALERT, **settings: Any) -> None:
    (channel,) = channels(Settings(alerts=(to,), **settings))
    channel.tell(alert)


def test_a_mail_has_text_and_html_and_no_markup_of_other_people(post: tuple[Postbox, int]):
    postbox, port = post
    tell(f"mailto:oncall@example.com?via=smtp://127.0.0.1:{port}&from=celery@example.com")
    (mail,) = postbox.mails
    assert (mail["To"], mail["From"]) == ("oncall@example.com", "celery@example.com")
    assert mail["Subject"] == "[mirepoix] new failure: ValueError: <b>no</b> such order (shop.pay)"
    text, html = (part.get_content() for part in mail.iter_parts())
    assert "mirepoix failures show abc" in text
    assert "    charge(order)" in text
    assert "&lt;b&gt;no&lt;/b&gt;" in html
    assert '<a href="https://shop.example/admin/mirepoix/task/t1/change/">' in html


def test_a_title_of_several_lines_cannot_add_a_header(post: tuple[Postbox, int]):
    postbox, port = post
    alert = Alert("a:b", "parked", "b", "one\r\nBcc: all@example.com")
    tell(f"mailto:oncall@example.com?via=smtp://127.0.0.1:{port}", alert)
    assert postbox.mails[0]["Bcc"] is None


def test_a_mail_server_that_is_away_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OSError):
        tell(f"mailto:oncall@example.com?via=smtp://127.0.0.1:{port}")


def test_a_webhook_is_signed(hook: Hook):
    tell(hook.url, alerts_secret="geheim")
    ((_, headers, body),) = hook.requests
    assert headers["Mirepoix-Signature"] == "sha256=" + hmac.new(b"geheim", body, hashlib.sha256).hexdigest()
    assert hook.told[0]["text"] == f"new_failure: {ALERT.title}"


def test_the_log_has_the_task_as_context(caplog: pytest.LogCaptureFixture):
    tell("logging")
    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == (
        *("mirepoix.alerts", logging.ERROR, f"new_failure: {ALERT.title}"),
    )
    assert (record.alert, record.task_name, record.task_id) == (ALERT, "shop.pay", "t1")


@pytest.fixture
def told() -> Iterator[list[Alert]]:
    TOLD.clear()
    yield TOLD
    TOLD.clear()


def note(alert: Alert) -> None:
    TOLD.append(alert)


@pytest.mark.parametrize("path", [f"{__name__}:note", f"{__name__}.note"])
def test_a_function_is_called(told: list[Alert], path: str):
    tell(path)
    assert sys.modules[__name__].TOLD == [ALERT]


MAIL = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["mirepoix.django"],
    ADMINS={admins}, EMAIL_PORT={port}, EMAIL_HOST="127.0.0.1", EMAIL_SUBJECT_PREFIX="[shop] ",
)
django.setup()
from mirepoix.alerts.channels import channels
from mirepoix.config import Settings
from mirepoix.records import Alert
(channel,) = channels(Settings(alerts=["mail_admins"]))
channel.tell(Alert("parked:a", "parked", "a", "2 a tasks are parked"))
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    folder = str(Path(__file__).parent)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True, cwd=folder)


def test_django_mails_its_admins(post: tuple[Postbox, int]):
    postbox, port = post
    done = run(MAIL.format(admins="[('Ann', 'ann@example.com')]", port=port))
    assert done.returncode == 0, done.stderr
    (mail,) = postbox.mails
    assert (mail["To"], mail["Subject"]) == ("ann@example.com", "[shop] parked: 2 a tasks are parked")
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert "see: manage.py mirepoix parked" in mail.get_payload(0).get_payload()


def test_django_without_admins_is_an_error_and_not_silence():
    done = run(MAIL.format(admins="[]", port=25))
    assert "ADMINS is empty" in done.stderr


SENTRY = """
import sentry_sdk
sentry_sdk.init("http://key@127.0.0.1:{port}/1", default_integrations=False)
from mirepoix.alerts.channels import channels
from mirepoix.config import Settings
from mirepoix.records import Alert
(channel,) = channels(Settings(alerts=["sentry"]))
for kind in ("new_failure", "regression"):
    channel.tell(Alert(kind + ":abc", kind, "abc", "ValueError: no", name="shop.pay", task_id="t1", release="7.1"))
"""


def test_sentry_gets_an_event_with_our_fingerprint(hook: Hook):
    done = run(SENTRY.format(port=hook.url.split(":")[2].split("/")[0]))
    assert done.returncode == 0, done.stderr
    events = [event for _, headers, body in hook.requests for event in events_of(headers, body)]
    assert [event["message"] for event in events] == ["new_failure: ValueError: no", "regression: ValueError: no"]
    assert {tuple(event["fingerprint"]) for event in events} == {("mirepoix", "abc")}
    assert events[0]["tags"] == {"mirepoix.kind": "new_failure", "task": "shop.pay", "task_id": "t1"}
    assert events[0]["release"] == "7.1"


def test_sentry_that_was_not_initialised_is_an_error():
    done = run(SENTRY.format(port=1).replace(", default_integrations=False", "").replace("sentry_sdk.init", "str"))
    assert "sentry_sdk.init() was not called" in done.stderr


def test_of_a_traceback_the_messages_are_not_told():
    text = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in pay\n    charge(card)\n    ^^^^^^\n'
        'ValueError: card 4111 1111\nmore of 4111\n\nDuring handling:\n  File "b.py", line 2, in f\n'
    )
    assert frames(text) == '  File "a.py", line 1, in pay\n    charge(card)\n  File "b.py", line 2, in f'


REFUSED = [
    ({"alerts": "logging"}, "mirepoix_alerts must be a list of channels, not one string"),
    ({"alerts": [7]}, "mirepoix_alerts must name channels by strings, not 7"),
    ({"alerts": ["pigeon"]}, "mirepoix_alerts names 'pigeon', which is not a channel. Write 'logging', "),
    ({"alerts": ["ftp://u:secret@host/"]}, "mirepoix_alerts names 'ftp:...', which is not a channel."),
    ({"alerts": ["https:///x"]}, "mirepoix_alerts names a webhook without a host."),
    ({"alerts": ["mailto:nobody"]}, "mirepoix_alerts names 'mailto:nobody'"),
    ({"alerts": ["mailto:a@b?vai=smtp://x"]}, "mirepoix_alerts names vai in a mailto: channel; it may have via"),
    *(
        ({"alerts": [f"mailto:{channel}"]}, words)
        for channel, words in (
            ("?via=smtp://u:secret@host", "'mailto:', which is not a mail address"),
            ("smtp://u:secret@host", "mailto: without a mail address"),
            ("a@b?via=smtp://u:p&secret=x@host", "an unknown option (in a password, / must be written %2F"),
            *(
                (f"a@b?via=smtp://u:{key}@host", "is not smtp://")
                for key in ("sec/ret", "1/secret", "1?secret", "[secret")
            ),
        )
    ),
    ({"alerts": ["mailto:a@b?via=http://x"]}, "mirepoix_alerts names mailto:a@b with a via that is not smtp://"),
    ({"alerts": ["logging", "logging"]}, "mirepoix_alerts names a channel twice."),
    ({"alerts_interval_s": 0}, "mirepoix_alerts_interval_s must be above 0"),
    ({"alerts_base_url": "/admin/"}, "mirepoix_alerts_base_url must begin with https://"),
    ({"alerts_per_hour": 0}, "mirepoix_alerts_per_hour must be at least 1, not 0."),
    ({"queue_objectives_s": {"q": "1m"}}, "mirepoix_queue_objectives_s must give seconds above 0 for 'q', not '1m'."),
]


@pytest.mark.parametrize(("given", "words"), REFUSED, ids=lambda one: "" if isinstance(one, dict) else one[:40])
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], words: str):
    with pytest.raises(ConfigurationError) as refused:
        Settings.read({}, given)
    said = str(refused.value)
    assert words in said.replace("'mailto:nobody', which is not a mail address", "'mailto:nobody'")
    assert "secret" not in said


@pytest.mark.parametrize("path", ["no.such:module", "os:nothing", "os:name"])
def test_a_function_that_is_not_there_is_refused(path: str):
    with pytest.raises(ConfigurationError, match=path):
        channels(Settings(alerts=(path,)))


def test_labels_hold_no_secrets():
    to = ("https://u:pass@hooks.example/T0/secret", "mailto:a@b.c?via=smtp://u:pass@host")
    labels = [channel.label for channel in channels(Settings(alerts=to))]
    assert labels[0].startswith("webhook hooks.example ")
    assert not any(word in label for label in labels for word in ("pass", "secret"))
