"""No module of the installed app has a name that other packages import from every app, except on purpose."""

from __future__ import annotations

from pathlib import Path

import mirepoix.django

MEANT = {"admin", "apps", "management", "migrations", "models"}
"""What Django itself looks for, and finds."""

BY_CONVENTION = {
    "Django": {"admin", "apps", "forms", "management", "migrations", "models", "templatetags", "tests", "urls"},
    "Celery, Dramatiq, Huey, Procrastinate": {"tasks", "celery", "actors"},
    "projects' own loaders": {"handlers", "hooks", "jobs", "plugins", "receivers", "registry", "signals", "webhooks"},
    "Haystack, elasticsearch-dsl": {"search_indexes", "documents", "index", "indexes"},
    "Wagtail, django CMS": {"wagtail_hooks", "cms_apps", "cms_menus", "cms_plugins", "cms_toolbars"},
    "django-modeltranslation": {"translation"},
    "django-rules, django-permission": {"rules", "perms", "permissions"},
    "django-components, imagekit": {"components", "imagegenerators"},
    "django-ajax-selects, autocomplete-light": {"lookups", "autocomplete_light_registry"},
    "django-cron, django-kronos": {"cron", "cron_jobs"},
    "Channels, Strawberry, Graphene, Ninja": {"api", "consumers", "routing", "schema"},
    "django-simple-menu, sitetree": {"menus", "sitetrees"},
}
"""Who imports ``<app>.<name>`` of every installed app that has such a module."""


def test_nothing_is_imported_by_a_convention_that_it_does_not_follow():
    folder = Path(mirepoix.django.__file__).parent
    ours = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    taken = {who: sorted(ours & names - MEANT) for who, names in BY_CONVENTION.items()}
    assert {who: names for who, names in taken.items() if names} == {}
    assert ours >= MEANT
