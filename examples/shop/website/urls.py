"""The shop's pages."""

from django.contrib import admin
from django.urls import path
from orders import views

urlpatterns = [
    path("", views.index, name="index"),
    path("orders/", views.place, name="place"),
    path("orders/<int:number>/", views.order, name="order"),
    path("admin/", admin.site.urls),
]
