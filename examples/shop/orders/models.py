"""What the shop knows: products and their stock, orders and their payments."""

from django.db import models


class Product(models.Model):
    """Something to sell."""

    name = models.CharField(max_length=80, unique=True)
    cents = models.PositiveIntegerField()
    stock = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """One product for one customer. A view makes it; `orders.tasks` bring it to its end."""

    class State(models.TextChoices):
        """Where it is."""

        PLACED = "placed"
        PAID = "paid"
        SENT = "sent"
        SOLD_OUT = "sold out"

    email = models.EmailField()
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLACED)
    placed_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"order {self.pk}"


class Payment(models.Model):
    """What the provider said. One an order, which the database sees to."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE)
    reference = models.CharField(max_length=64, unique=True)
    cents = models.PositiveIntegerField()

    def __str__(self) -> str:
        return self.reference


class DailyReport(models.Model):
    """What was sold in a day: the sum of what its parts counted."""

    day = models.DateField(unique=True)
    orders = models.PositiveIntegerField()
    cents = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"report of {self.day}"
