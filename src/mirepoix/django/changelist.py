"""The admin's list of tasks. The ledger's own search finds them through the indexes and counts nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import InvalidPage

from mirepoix.django import project
from mirepoix.django.filters import GroupFilter, NameFilter, PeriodFilter, QueueFilter, StateFilter
from mirepoix.django.models import Task
from mirepoix.ledger.query.tasks import Filters, beginning_with, search

MOST = 1_000
"""The most tasks that are found: the newest. Filters find others."""

AMONG = 200_000
"""A search for a part of a name reads so many succeeded, cancelled and expired tasks, and all others."""

UNREAD = ("body", "headers", "properties", "shape")
"""Columns that the list does not show and that may be large."""


class TaskList(ChangeList):  # type: ignore[misc]  # Django brings no types
    """The newest `MOST` tasks that match the filters. ``has_more`` says that more tasks match."""

    def get_queryset(self, request: Any, exclude_parameters: Any = None) -> Any:
        """Return the tasks that were found. The actions get the same tasks."""
        self.filter_specs, self.has_filters, remaining, _, self.has_active_filters = self.get_filters(request)
        if remaining:
            raise IncorrectLookupParameters(f"no such filter: {', '.join(remaining)}")
        self.clear_all_filters_qs = self.get_query_string(remove=self.get_filters_params())
        found = self._found()
        self.ids, self.has_more, self.most = found[:MOST], len(found) > MOST, MOST
        return self.root_queryset.filter(pk__in=self.ids)

    def get_results(self, request: Any) -> None:
        """Set the tasks of one page."""
        paginator = self.model_admin.get_paginator(request, self.ids, self.list_per_page)
        try:
            ids = list(paginator.page(self.page_num).object_list)
        except InvalidPage:
            raise IncorrectLookupParameters from None
        rows = Task.objects.defer(*UNREAD).select_related("worker").in_bulk(ids)
        self.result_list = [rows[id] for id in ids if id in rows]
        self.result_count = len(self.ids)
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.ids)
        self.can_show_all = False
        self.multi_page = len(self.ids) > self.list_per_page
        self.paginator = paginator

    def _found(self) -> list[str]:
        """Return the ids, the newest first. The query is the beginning of an id, or a part of a name."""
        chosen = {type(spec): spec for spec in self.filter_specs}
        query = self.query.strip()
        name, queue, group = (chosen.get(kind) for kind in (NameFilter, QueueFilter, GroupFilter))
        filters = Filters(
            states=chosen[StateFilter].states(),
            name=name.value() if name else None,
            queue=queue.value() if queue else None,
            since=chosen[PeriodFilter].since(),
            failure_group=group.value() if group else None,
        )
        with project.ledger().reading() as tx:
            by_id = beginning_with(tx, query, MOST + 1) if query else []
            if by_id:
                return [task_id for task_id, _, _ in by_id]
            if query and filters.name is None:
                # `*` and `?` in the query are wildcards too.
                filters = replace(filters, name=f"*{query}*", among=AMONG)
                query = ""
            lines = search(tx, filters, MOST + 1)
        return [line.id for line in lines if query in line.name]
