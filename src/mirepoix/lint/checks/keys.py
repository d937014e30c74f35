"""Idempotency keys: MP006 (a key that changes between attempts) and MP010 (no key at all)."""

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
"""Functions of these libraries take the key as an argument. A model's field of that name may only store a key."""
MAKERS = {"requests.Session", "requests.session", "httpx.Client", "httpx.AsyncClient"}


def random_keys(task: Task, names: Names) -> Iterator[Finding]:
    """Check MP006."""
    for key in _keys(task, names):
        made_by = _random(key, task, names)
        if made_by:
            message = f"the key comes from {made_by}(): each attempt has another, and the work is done again"
            yield at(key, "MP006", message)


def posts(task: Task, names: Names) -> Iterator[Finding]:
    """Check MP010."""
    for call in task.scope.calls():
        if not (isinstance(call.func, ast.Attribute) and call.func.attr == "post"):
            continue
        if not _is_client(call.func.value, task, names):
            continue
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        headers = given.get("headers")
        if None in given or "auth" in given or not (headers is None or isinstance(headers, ast.Dict)):
            continue  # code that adds headers may add a key
        if headers is not None and None in headers.keys:
            continue
        if "idempoten" not in ast.unparse(call).lower() and not any(
            isinstance(node, ast.Constant) and str(node.value).lower() in HEADERS for node in ast.walk(call)
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
                for keyword in keywords:
                    if keyword.arg in KEYWORDS and is_provider:
                        yield keyword.value
                if args and names.of(func) in NAMED:
                    yield args[0]


def _random(key: ast.expr, task: Task, names: Names, depth: int = 0) -> str:
    """Return the call that makes the value differ in each attempt, or an empty string."""
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
    """Whether the value is the random value itself or its text. Another function's result may be stable."""
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
                return all(isinstance(part, (ast.Constant, ast.FormattedValue)) for part in values)
            case _:
                return False


def _is_client(node: ast.expr, task: Task, names: Names) -> bool:
    if names.of(node) in CLIENTS:
        return True
    given = task.scope.given(node.id) if isinstance(node, ast.Name) else None
    return given is not None and all(
        value.how == "value" and isinstance(value.value, ast.Call) and names.of(value.value.func) in MAKERS
        for value in given
    )
