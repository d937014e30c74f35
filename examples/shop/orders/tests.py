"""The shop's tests: what is sent runs in them, through real serialisation, without a worker."""

from __future__ import annotations

import math
from datetime import date
from typing import Any
from unittest.mock import patch

from django.contrib.auth import get_user_model
from django.core import mail
from django.db import transaction
from django.test import TestCase, override_settings
from django.urls import reverse
from django.utils import timezone
from provider import Provider

from mirepoix.django.models import Task
from mirepoix.django.test import run_tasks, running_tasks
from orders.models import DailyReport, Order, Payment, Product
from orders.tasks import SoldOut, confirm, pay, process, report_on, reserve


class ShopTestCase(TestCase):
    """A shop with a payment provider of its own."""

    @classmethod
    def setUpClass(cls) -> None:
        """Start the provider."""
        import threading

        super().setUpClass()
        cls.provider = Provider()
        thread = threading.Thread(target=cls.provider.serve_forever)
        thread.start()
        cls.addClassCleanup(thread.join)
        cls.addClassCleanup(cls.provider.server_close)
        cls.addClassCleanup(cls.provider.shutdown)
        cls.enterClassContext(override_settings(SHOP_PROVIDER=cls.provider.url))

    def setUp(self) -> None:
        """Something to sell."""
        self.provider.charges.clear()
        self.celery = Product.objects.create(name="Celery", cents=199, stock=3)

    def order(self, **more: Any) -> Order:
        """An order that no task knows of."""
        return Order.objects.create(product=self.celery, email="ann@example.com", **more)

    @property
    def charged(self) -> list[int]:
        """What the provider took."""
        return [charge["cents"] for charge in self.provider.charges.values()]


class OrderTests(ShopTestCase):
    """From the page to the mail."""

    def test_an_order_is_paid_and_confirmed(self) -> None:
        with running_tasks() as ran:
            answer = self.client.post(reverse("place"), {"product": self.celery.pk, "email": "ann@example.com"})
        order = Order.objects.get()
        self.assertRedirects(answer, reverse("order", args=[order.pk]))
        self.assertEqual([one.name.rpartition(".")[2] for one in ran], ["reserve", "pay", "confirm"])
        self.assertEqual((order.state, self.charged), ("sent", [199]))
        self.assertEqual([sent.subject for sent in mail.outbox], [f"Your order {order.pk}"])
        self.celery.refresh_from_db()
        self.assertEqual(self.celery.stock, 2)
        self.assertContains(self.client.get(reverse("order", args=[order.pk])), Payment.objects.get().reference)

    def test_an_order_that_is_rolled_back_sends_nothing(self) -> None:
        with self.assertRaises(RuntimeError), transaction.atomic():
            process(self.order())
            raise RuntimeError
        self.assertEqual(Task.objects.count(), 0)

    def test_a_bad_order_is_told(self) -> None:
        answer = self.client.post(reverse("place"), {"product": self.celery.pk, "email": "nobody"})
        self.assertContains(answer, "valid email", status_code=400)
        self.assertEqual(Task.objects.count(), 0)

    def test_what_is_sold_out_fails_and_is_not_charged(self) -> None:
        Product.objects.update(stock=0)
        process(self.order())
        with self.assertRaises(SoldOut):
            run_tasks()
        self.assertEqual(Task.objects.get().state, "failed")
        self.assertEqual((self.charged, mail.outbox), ([], []))


class AgainTests(ShopTestCase):
    """What happens when a task runs again."""

    def run_again(self) -> None:
        """Requeue what failed, as the administrator does, and run it."""
        self.client.force_login(get_user_model().objects.create_superuser("admin", "ann@example.com", "secret"))
        (failed,) = Task.objects.filter(state="failed")
        chosen = {"action": "requeue_tasks", "_selected_action": [failed.pk]}
        answer = self.client.post(reverse("admin:mirepoix_task_changelist"), chosen, follow=True)
        self.assertContains(answer, "Requeued: 1 task")
        run_tasks()

    def test_a_payment_that_was_not_written_down_is_not_made_twice(self) -> None:
        order = self.order()
        pay.delay(order.pk)
        with patch.object(Payment.objects, "get_or_create", side_effect=OSError("the power failed")):
            run_tasks(raises=False)
        self.assertEqual((self.charged, Payment.objects.count()), ([199], 0))
        self.run_again()
        self.assertEqual((self.charged, Payment.objects.get().cents), ([199], 199))

    def test_a_provider_that_is_away_is_asked_again(self) -> None:
        self.provider.away_until = math.inf
        order = self.order()
        pay.delay(order.pk)
        run_tasks(raises=False)
        waiting = Task.objects.get()
        self.assertEqual((waiting.state, waiting.retries, self.charged), ("pending", 1, []))
        self.provider.away_until = 0.0
        run_tasks(run_now=True)
        self.assertEqual((Task.objects.get().state, self.charged), ("succeeded", [199]))

    def test_a_mail_is_sent_once(self) -> None:
        order = self.order(state=Order.State.PAID)
        confirm.delay(order.pk)
        with patch.object(Order.objects, "filter", side_effect=OSError("the power failed")):
            run_tasks(raises=False)
        self.run_again()
        order.refresh_from_db()
        self.assertEqual((len(mail.outbox), order.state), (1, "sent"))

    def test_a_reservation_that_fails_takes_nothing(self) -> None:
        order = self.order()
        reserve.delay(order.pk)
        with patch("mirepoix.ledger.finish.succeed", side_effect=OSError("the power failed")):
            run_tasks(raises=False)
        self.celery.refresh_from_db()
        self.assertEqual(self.celery.stock, 3)


class ReportTests(ShopTestCase):
    """The chord of the night."""

    def test_a_report_sums_up_what_its_parts_counted(self) -> None:
        carrot = Product.objects.create(name="Carrot", cents=99, stock=1)
        for product in (self.celery, self.celery, carrot):
            order = Order.objects.create(product=product, email="ann@example.com")
            Payment.objects.create(order=order, reference=str(order.pk), cents=product.cents)
        today: date = timezone.now().date()
        report_on(today)
        run_tasks()
        report = DailyReport.objects.get()
        self.assertEqual((report.day, report.orders, report.cents), (today, 3, 497))


class AdminTests(ShopTestCase):
    """What the administrator sees."""

    def test_the_tasks_of_an_order_are_in_the_admin(self) -> None:
        self.client.force_login(get_user_model().objects.create_superuser("admin", "ann@example.com", "secret"))
        process(self.order())
        run_tasks()
        page = self.client.get(reverse("admin:mirepoix_task_changelist"))
        for name in ("orders.tasks.reserve", "orders.tasks.pay", "orders.tasks.confirm"):
            self.assertContains(page, name)
