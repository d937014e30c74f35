"""The shop's pages. ATOMIC_REQUESTS makes each one transaction: an order and its tasks exist together or not at all."""

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from orders.models import Order, Product
from orders.tasks import process


class OrderForm(forms.ModelForm):
    """What a customer fills in."""

    class Meta:
        """Of an order."""

        model = Order
        fields = ("product", "email")


def index(request: HttpRequest) -> HttpResponse:
    """What there is to buy."""
    context = {"products": Product.objects.order_by("name"), "form": OrderForm()}
    return render(request, "orders/index.html", context)


@require_POST
def place(request: HttpRequest) -> HttpResponse:
    """Place an order."""
    form = OrderForm(request.POST)
    if not form.is_valid():
        context = {"products": Product.objects.order_by("name"), "form": form}
        return render(request, "orders/index.html", context, status=400)
    placed = form.save()
    process(placed)
    return redirect("order", placed.pk)


def order(request: HttpRequest, number: int) -> HttpResponse:
    """How far an order has come."""
    found = get_object_or_404(Order.objects.select_related("product", "payment"), pk=number)
    return render(request, "orders/order.html", {"order": found})
