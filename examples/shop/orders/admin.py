"""The shop's own tables in the admin; the tasks are there by themselves, under Mirepoix."""

from django.contrib import admin

from orders.models import DailyReport, Order, Payment, Product


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    """Products and their stock."""

    list_display = ("name", "cents", "stock")


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders, the newest first."""

    list_display = ("pk", "email", "product", "state", "placed_at")
    list_filter = ("state",)
    ordering = ("-pk",)


admin.site.register([Payment, DailyReport])
