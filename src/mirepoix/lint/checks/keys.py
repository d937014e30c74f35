"""How a task is known to the other side: MP006 (a key that changes between attempts) and MP010 (no key at all)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mirepoix.lint.finding import Finding, at
from mirepoix.lint.names import Names, spelled
from mirepoix.lint.tasks import Task

RANDOM = {
    *("uuid.uuid1", "uuid.uuid4", "time.time", "time.time_ns", "time.monotonic", "os.urandom"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "django.utils.timezone.now", "secrets.token_hex"),
    *("secrets.token_urlsafe", "secrets.token_bytes", "random.random", "random.randint", "random.getrandbits"),
    *("random.choice", "random.choices", "django.utils.crypto.get_random_string"),
}
HEADERS = {"idempotency-key", "x-idempotency-key", "paypal-request-id"}
KEYWORDS = {"idempotency_key", "idempotence_key"}
NAMED = {"mirepoix.step", "mirepoix.idempotency_key"}
CLIENTS = {"requests", "httpx"}
PROVIDERS = {"stripe", "square", "adyen", "mollie", "razorpay"}
"""Whose functions take the key as an argument. A model's field of that name only stores one, which may be right."""
MAKERS = {"requests.Session", "requests.session", "httpx.Client", "httpx.AsyncClient"}


def random_keys(task: Task, names: Names) -> Iterator[Finding]:
    """MP006."""
    for key in _keys(task, names):
        made_by = _random(key, task, names)
        if made_by:
            message = f"the key comes from {made_by}(): each attempt has another, and the work is done again"
            yield at(key, "MP006", message)


def posts(task: Task, names: Names) -> Iterator[Finding]:
    """MP010."""
    for call in task.scope.calls():
        if not (isinstance(call.func, ast.Attribute) and call.func.attr == "post"):
            continue
        if not _is_client(call.func.value, task, names):
            continue
        given = {one.arg: one.value for one in call.keywords}
        headers = given.get("headers")
        if None in given or "auth" in given or not (headers is None or isinstance(headers, ast.Dict)):
            continue  # what adds headers may add a key
        if headers is not None and None in headers.keys:
            continue
        if "idempoten" not in ast.unparse(call).lower() and not any(
            isinstance(one, ast.Constant) and str(one.value).lower() in HEADERS for one in ast.walk(call)
        ):
            yield at(call, "MP010", f"{spelled(call.func)}() has no idempotency key: a second attempt posts again")


def _keys(task: Task, names: Names) -> Iterator[ast.expr]:  # noqa: C901  # one case for each place of a key
    for node in task.scope.nodes:
        match node:
            case ast.Dict(keys=keys, values=values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and str(key.value).lower() in HEADERS:
                        yield value
            case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value=str(header)))], value=value):
                if header.lower() in HEADERS:
                    yield value
            case ast.Call(func=func, args=args, keywords=keywords):
                is_provider = names.of(func).partition(".")[0] in PROVIDERS
                for one in keywords:
                    if one.arg in KEYWORDS and is_provider:
                        yield one.value
                if args and names.of(func) in NAMED:
                    yield args[0]


def _random(key: ast.expr, task: Task, names: Names, depth: int = 0) -> str:
    """The call that makes a value another one in each attempt, or an empty text."""
    inside = list(ast.walk(key))
    for node in inside:
        if isinstance(node, ast.Call) and names.of(node.func) in RANDOM:
            return names.of(node.func)
    if depth:
        return ""
    for node in inside:
        given = task.scope.given(node.id) if isinstance(node, ast.Name) else None
        if given is not None and len(given) == 1 and given[0].how == "value":
            value = given[0].value
            found = _random(value, task, names, 1) if _is_plain(value, names) else ""
            if found:
                return found
    return ""


def _is_plain(value: ast.expr, names: Names) -> bool:
    """The random value itself or its text; what another function makes of one may be stable."""
    while True:
        match value:
            case ast.Call(func=ast.Name(id="str" | "repr"), args=[inner]):
                value = inner
            case ast.Attribute(value=inner) if not spelled(value):
                value = inner
            case ast.Call(func=func) if names.of(func) in RANDOM:
                return True
            case ast.Call(func=ast.Attribute(value=inner, attr="isoformat" | "timestamp" | "strftime")):
                value = inner
            case ast.JoinedStr(values=values):
                return all(isinstance(one, (ast.Constant, ast.FormattedValue)) for one in values)
            case _:
                return False


def _is_client(node: ast.expr, task: Task, names: Names) -> bool:
    if names.of(node) in CLIENTS:
        return True
    given = task.scope.given(node.id) if isinstance(node, ast.Name) else None
    return given is not None and all(
        one.how == "value" and isinstance(one.value, ast.Call) and names.of(one.value.func) in MAKERS for one in given
    )
