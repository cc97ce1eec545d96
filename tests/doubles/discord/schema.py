"""Discord's own OpenAPI file as a judge of what is sent to it and of what our double answers."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

FILE = Path(__file__).with_name("openapi.json")
_URI = "urn:discord"
_SMALLEST_SNOWFLAKE = 2**44


class Schema:
    """The paths of the file, and validators for what belongs to them.

    One library judges, since it is a hundred times as fast; the other one says what is wrong, since it names the place.
    """

    def __init__(self) -> None:
        self._document: dict[str, Any] = json.loads(FILE.read_text())
        resource = Resource.from_contents(self._document, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_URI, resource)
        self._routes = [(_pattern(template), template) for template in self._document["paths"]]
        self._routes.sort(key=lambda route: route[1].count("{"))  # `@me` before `{id}`
        self._compiled = jsonschema_rs.Registry([(_URI, self._document)], draft=jsonschema_rs.Draft202012)
        self._judges: dict[str, jsonschema_rs.Draft202012Validator] = {}

    def template(self, method: str, path: str) -> str | None:
        """The path as the file writes it (`/channels/{channel_id}`), or None when Discord has no such route."""
        for pattern, template in self._routes:
            if pattern.fullmatch(path) and method.lower() in self._document["paths"][template]:
                return template
        return None

    def request_errors(self, method: str, path: str, body: Any) -> list[str]:
        """What Discord's file finds wrong with a request; `body` is the JSON (or `payload_json`), None for none."""
        template = self.template(method, path)
        if template is None:
            return [f"{method} {path}: Discord has no such route"]
        content = self._document["paths"][template][method.lower()].get("requestBody", {}).get("content", {})
        if body is None or "application/json" not in content:
            return []
        where = ("paths", template, method.lower(), "requestBody", "content", "application/json", "schema")
        return self._errors(where, normalised(body), f"{method} {path}")

    def response_errors(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """What the file finds wrong with an answer of ours."""
        template = self.template(method, path)
        if template is None or body is None:
            return []
        answers = self._document["paths"][template][method.lower()]["responses"]
        if "application/json" not in answers.get(str(status), {}).get("content", {}):
            return []
        where = ("paths", template, method.lower(), "responses", str(status), "content", "application/json", "schema")
        return self._errors(where, body, f"answer {status} to {method} {path}")

    def _errors(self, where: tuple[str, ...], value: Any, what: str) -> list[str]:
        pointer = "/".join(quote(part.replace("~", "~0").replace("/", "~1"), safe="~@") for part in where)
        schema = {"$ref": f"{_URI}#/{pointer}"}
        if pointer not in self._judges:
            self._judges[pointer] = jsonschema_rs.Draft202012Validator(schema, registry=self._compiled)
        if self._judges[pointer].is_valid(value):
            return []
        error = best_match(Draft202012Validator(schema, registry=self._registry).iter_errors(value))
        if error is None:
            return [f"{what}: refused, and only the fast judge knows why"]
        at = "/".join(str(part) for part in error.absolute_path)
        return [f"{what}: at {at or 'the top'}: {error.message[:300]}"]


@cache
def schema() -> Schema:
    """The one judge: reading the file takes a while."""
    return Schema()


def normalised(value: Any) -> Any:
    """discord.py sends some ids and permissions as integers, which Discord takes; the file wants text."""
    if isinstance(value, dict):
        return {
            key: str(each) if key in ("allow", "deny", "id") and isinstance(each, int) else normalised(each)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [normalised(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and value >= _SMALLEST_SNOWFLAKE:
        return str(value)
    return value


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template)))
