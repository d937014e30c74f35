"""Pauses in the admin: what is paused, by whom and why; pause something, and resume it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.urls import reverse
from django.utils.html import format_html

from mirepoix.django import project
from mirepoix.django.filters import of_app
from mirepoix.django.ledger_admin import LedgerAdmin, ago, written
from mirepoix.django.models import Hold
from mirepoix.ledger.holds import Kind
from mirepoix.operations import steering
from mirepoix.operations.format import count, one_line

WAITING = {Kind.QUEUE: "queue", Kind.TASK: "name"}
"""The filter of the list of tasks that shows what waits, by the kind of what is paused."""


class PauseForm(forms.ModelForm):  # type: ignore[misc]  # Django brings no types
    """What to pause, and why. A name that nothing has is refused, because it may be a typing error."""

    note = forms.CharField(label="Why", required=False, widget=forms.TextInput(attrs={"class": "vTextField"}))
    is_forced = forms.BooleanField(label="Pause it even if nothing has that name", required=False)

    class Meta:
        model = Hold
        fields = ("kind", "value", "note")

    def clean(self) -> Any:
        found = super().clean()
        if found.get("kind") and found.get("value"):
            self._check(Kind(found["kind"]), found["value"], is_forced=bool(found.get("is_forced")))
        return found

    def _check(self, kind: Kind, value: str, *, is_forced: bool) -> None:
        try:
            steering.checked(value)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if Hold.objects.filter(kind=kind.value, value=value).exists():
            raise forms.ValidationError(f"{steering.what(kind, value)} is paused already.")
        if is_forced:
            return
        names, queues = of_app()
        with project.ledger().reading() as tx:
            doubt = steering.unknown(tx, kind, value, {Kind.TASK: names, Kind.QUEUE: queues}.get(kind, ()))
        if doubt is not None:
            raise forms.ValidationError(doubt)


class ResumeForm(ActionForm):  # type: ignore[misc]
    """The choice of an action, with the reason."""

    note = forms.CharField(label="Why:", required=False)


class HoldAdmin(LedgerAdmin):
    """What is paused, the oldest first. To add a pause is to pause something."""

    form = PauseForm
    action_form = ResumeForm
    actions = ("resume",)
    list_display = ("what", "since", "paused_by", "note", "waiting")
    list_display_links = None
    list_filter = ("kind",)
    sortable_by = ()
    ordering = ("paused_at", "kind", "value")

    def changelist_view(self, request: Any, extra_context: Any = None) -> Any:
        return super().changelist_view(request, {"title": "Paused", **(extra_context or {})})

    def add_view(self, request: Any, form_url: str = "", extra_context: Any = None) -> Any:
        buttons = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {"title": "Pause", **buttons, **(extra_context or {})})

    def get_fields(self, _request: Any, obj: Any = None) -> tuple[str, ...]:
        return ("kind", "value", "note", "is_forced") if obj is None else ("what", "since", "paused_by", "note")

    def has_add_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("mirepoix.pause_hold")) and self.has_view_permission(request)

    def has_resume_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("mirepoix.resume_hold")) and self.has_view_permission(request)

    def save_model(self, request: Any, obj: Hold, form: Any, change: bool) -> None:
        """Pause it. Workers obey within a second."""
        by, note = request.user.get_username(), one_line(obj.note)
        steering.pause(project.ledger(), Kind(obj.kind), obj.value, by, note)
        obj.pk = f"{obj.kind}:{obj.value}"  # for the admin's own log

    @admin.action(description="Resume selected pauses", permissions=["resume"])  # type: ignore[untyped-decorator]
    def resume(self, request: Any, queryset: Any) -> None:
        """Resume what was chosen, and release the tasks that it held."""
        by, note = request.user.get_username(), one_line(request.POST.get("note", ""))
        for hold in queryset.filter(kind__in=list(Kind)):
            was_paused, released = steering.resume(project.ledger(), Kind(hold.kind), hold.value, by, note)
            words = f"{steering.what(hold.kind, hold.value)} {'is resumed' if was_paused else 'was not paused'}"
            words += f", {count(released, 'held task')} released" if released else ""
            self.message_user(request, words, messages.SUCCESS if was_paused else messages.WARNING)

    @admin.display(description="paused")  # type: ignore[untyped-decorator]
    def what(self, hold: Hold) -> str:
        return steering.what(hold.kind, hold.value)

    @admin.display(description="since")  # type: ignore[untyped-decorator]
    def since(self, hold: Hold) -> str:
        shown = '{} <small class="mirepoix-id">{}</small>'
        return format_html(shown, written(hold.paused_at), f"for {ago(hold.paused_at)}")  # type: ignore[no-any-return]

    @admin.display(description="what waits")  # type: ignore[untyped-decorator]
    def waiting(self, hold: Hold) -> str:
        """Return a link to the tasks that wait for it, if it holds some."""
        if hold.kind not in WAITING:
            return ""
        url = reverse("admin:mirepoix_task_changelist", current_app=self.admin_site.name)
        query = urlencode({WAITING[Kind(hold.kind)]: hold.value, "state": "pending"})
        return format_html('<a href="{}?{}">tasks</a>', url, query)  # type: ignore[no-any-return]
