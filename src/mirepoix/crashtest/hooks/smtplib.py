"""Mail that smtplib sends. The hook is ``SMTP.sendmail``, which ``send_message`` calls too."""

from __future__ import annotations

import smtplib
from contextlib import ExitStack
from typing import Any

from mirepoix.crashtest.hooks.patch import replace
from mirepoix.crashtest.points import current


def install(stack: ExitStack) -> None:
    """Install the fault points until *stack* is closed."""

    def make(sendmail: Any) -> Any:
        def wrapped(self: Any, sender: str, to: Any, text: Any, *args: Any, **options: Any) -> Any:
            delivery = current()
            if delivery is None:
                return sendmail(self, sender, to, text, *args, **options)
            whom = to if isinstance(to, str) else ", ".join(to)
            with delivery.point("mail", f"mail to {whom}", is_durable=True) as note:
                sent = sendmail(self, sender, to, text, *args, **options)
                note({"kind": "mail", "subject": whom, "payload": text if isinstance(text, str) else repr(text)})
                return sent

        return wrapped

    replace(stack, smtplib.SMTP, "sendmail", make)
