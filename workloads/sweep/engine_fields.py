"""What a sweep file says of an engine: on the axis, and in the section ``engines``."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.document import Item
from joulemark.workloads.engines.catalogue import ENGINE_NAMES
from joulemark.workloads.engines.common import COMMON, SPECULATIVE_FIELDS
from joulemark.workloads.engines.endpoint import Endpoint, EndpointPlace
from joulemark.workloads.nearest import suggestion
from joulemark.workloads.sweep.model import ArgValue, EngineAsk, EngineSettings

PLACE_KEYS = ("url", "served", "api_key_env", "devices")
"""Where an endpoint is."""
_SECRET = re.compile(
    r"(^|[-_.])((api|auth|access|secret)[-_]?key|(hf|auth|access|api|bearer)[-_]?token|secret|password)$"
    r"|^(engine\.)?env\.(\w*_)?(key|token|secret|password)$"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def engine_value(item: Item) -> EngineAsk:
    """Return an engine as an axis value: a name, or a mapping with ``name``."""
    if not isinstance(item.value, dict):
        return EngineAsk(item.one_of(ENGINE_NAMES, "engine"))
    fields = item.fields(("name", "version", "args", "environment", *PLACE_KEYS), "engine", required=("name",))
    name = fields["name"].one_of(ENGINE_NAMES, "engine")
    version = fields["version"].text("version") if "version" in fields else None
    args = engine_args(fields["args"]) if "args" in fields else {}
    if name == Endpoint.name and "environment" in fields:
        raise fields["environment"].error("an endpoint runs already: it has a url, and no environment")
    environment = _environment(fields["environment"]) if "environment" in fields else None
    return EngineAsk(name, version, args, environment, _place(name, fields))


def engine_settings(item: Item, base: Path) -> dict[str, EngineSettings]:
    """Return the section ``engines``; relative paths start at ``base``."""
    found = {}
    for name, settings in item.mapping("engines as a mapping").items():
        if name not in ENGINE_NAMES:
            raise BadInput(f"{item.keys[name]}: {name!r} is no engine: {suggestion(name, ENGINE_NAMES)}")
        if name == Endpoint.name and not isinstance(settings.value, dict):
            found[name] = EngineSettings(place=EndpointPlace(_url(settings)))
            continue
        known = ("version", "args", *(PLACE_KEYS if name == Endpoint.name else ("environment",)))
        fields = settings.fields(known, f"engines.{name}")
        found[name] = EngineSettings(
            version=fields["version"].text("version") if "version" in fields else None,
            args=engine_args(fields["args"]) if "args" in fields else {},
            environment=environment_path(_environment(fields["environment"]), base)
            if "environment" in fields
            else None,
            place=_place(name, fields),
        )
    return found


def engine_args(item: Item) -> dict[str, ArgValue]:
    """Return a mapping of engine arguments, without leading dashes."""
    args: dict[str, ArgValue] = {}
    for key, value in item.mapping("engine arguments as a mapping").items():
        refuse_secret(key, Item(None, item.keys[key]))
        args[key.lstrip("-")] = argument(key, value)
    return args


def argument(key: str, item: Item) -> ArgValue:
    """Return the value of an engine argument: a scalar, or a mapping for a common option that has fields."""
    if not is_mapping(key) or not isinstance(item.value, dict):
        return item.scalar(f"a text, number, true, false or null for {key}")
    fields = item.fields(SPECULATIVE_FIELDS, key)
    return {name: field.scalar(f"a text or number for {name}") for name, field in fields.items()}


def is_mapping(key: str) -> bool:
    """Return whether an engine argument is a common option that has fields."""
    name = key.lstrip("-").replace("-", "_")
    return name in COMMON and COMMON[name].kind == "mapping"


def refuse_secret(name: str, where: Item) -> None:
    """Raise BadInput where ``name`` is that of a secret: what a sweep file says is stored and published."""
    if _SECRET.search(name.lower()):
        raise where.error(
            f"{name} is a secret, and a sweep file is stored with its results: set it as a variable of the environment "
            "in which joulemark runs (HF_TOKEN; for an endpoint name the variable as api_key_env)"
        )


def _place(name: str, fields: dict[str, Item]) -> EndpointPlace | None:
    given = [key for key in PLACE_KEYS if key in fields]
    if not given:
        return None
    if name != Endpoint.name:
        raise fields[given[0]].error(f"{given[0]} is for the engine 'endpoint', a server that runs already")
    if "url" not in fields:
        raise fields[given[0]].error(f"{given[0]} is given without the url of the endpoint")
    return EndpointPlace(
        url=_url(fields["url"]),
        served=fields["served"].text("served, the model's name at the endpoint") if "served" in fields else None,
        api_key_env=_variable(fields["api_key_env"]) if "api_key_env" in fields else None,
        devices=tuple(_device(d) for d in fields["devices"].elements()) if "devices" in fields else (),
    )


def _url(item: Item) -> str:
    url = item.text("the url of an endpoint, such as http://127.0.0.1:8000")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise item.error(f"{url!r} is no url of an endpoint; write for example http://127.0.0.1:8000")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise item.error("the url of an endpoint is stored: no user, password or query in it; see api_key_env")
    return url


def _variable(item: Item) -> str:
    name = item.text("api_key_env, the name of a variable")
    if not _VARIABLE.fullmatch(name):
        raise item.error("api_key_env is the name of the variable that holds the key, never the key itself")
    return name


def _device(item: Item) -> str:
    return str(item.value) if isinstance(item.value, int) else item.text("a GPU's index or UUID")


def environment_path(text: str, base: Path) -> str:
    """Return the absolute path, not resolved: a virtual environment's interpreter is a link that must stay one."""
    path = Path(text).expanduser()
    return str(path if path.is_absolute() else base.absolute() / path)


def _environment(item: Item) -> str:
    return item.text("environment, the path of an interpreter or virtual environment")
