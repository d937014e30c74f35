"""A Django site with a schema of PostgreSQL for each tenant. The ledger is in the schema that all share."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

url = urlsplit(os.environ["NEIGHBOURS_POSTGRESQL"])
SECRET_KEY = "for tests"
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": url.path[1:],
        "HOST": url.hostname,
        "PORT": url.port,
        "USER": url.username,
    }
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHARED_APPS = ["django_tenants", "customers", "django.contrib.contenttypes", "django.contrib.auth", "mirepoix.django"]
TENANT_APPS = ["django.contrib.contenttypes", "notes"]
if os.environ.get("NEIGHBOURS_TENANT_LEDGER"):
    TENANT_APPS = [*TENANT_APPS, "mirepoix.django"]
INSTALLED_APPS = [*SHARED_APPS, *(app for app in TENANT_APPS if app not in SHARED_APPS)]
TENANT_MODEL = "customers.Customer"
TENANT_DOMAIN_MODEL = "customers.Domain"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
