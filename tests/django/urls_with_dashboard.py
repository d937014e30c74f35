"""The URLs of a project that has the dashboard among its pages."""

from __future__ import annotations

from django.urls import include, path

import django_site

urlpatterns = [*django_site.urlpatterns, path("ops/tasks/", include("mirepoix.django.dashboard"))]
