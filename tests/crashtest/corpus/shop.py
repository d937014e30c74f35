"""The models of the corpus."""

# ruff: noqa: DJ008

from __future__ import annotations

from django.db import models

import django_site  # noqa: F401  (Django is set up)


class Order(models.Model):
    total = models.IntegerField(default=100)
    status = models.CharField(max_length=20, default="new")
    charge = models.CharField(max_length=80, default="")
    mailed = models.BooleanField(default=False)
    count = models.IntegerField(default=0)
    updated = models.DateTimeField(null=True)

    class Meta:
        app_label = "corpus"


class Payment(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    amount = models.IntegerField()
    token = models.CharField(max_length=80, default="")

    class Meta:
        app_label = "corpus"


class Line(models.Model):
    payment = models.ForeignKey(Payment, null=True, on_delete=models.CASCADE)
    name = models.CharField(max_length=80)

    class Meta:
        app_label = "corpus"


class Tag(models.Model):
    name = models.CharField(max_length=80)

    class Meta:
        app_label = "corpus"


class Slug(models.Model):
    name = models.CharField(max_length=80, unique=True)
    hits = models.IntegerField(default=0)

    class Meta:
        app_label = "corpus"


MODELS = (Order, Payment, Line, Tag, Slug)
