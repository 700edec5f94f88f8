"""The OpenAPI document of our own JSON, made from the contract's descriptors, so that it cannot differ from it."""

import functools
from importlib import metadata
from typing import Any

from google.api import field_behavior_pb2 as behavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor

from plaudit.reward.forms.native import METHODS
from plaudit_protos.reward.v1 import reward_pb2 as pb

Schema = dict[str, Any]
SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
KNOWN: dict[str, Schema] = {
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d+)?s$"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}, "required": ["@type"]},
}
ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "status", "details"],
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string"},
                "status": {"type": "string"},
                "details": {"type": "array", "items": KNOWN["google.protobuf.Any"]},
            },
        }
    },
}


@functools.cache
def document() -> Schema:
    """OpenAPI 3.1."""
    service = pb.DESCRIPTOR.services_by_name["RewardService"]
    roots = [kind for method in service.methods for kind in (method.input_type, method.output_type)]
    schemas = {message.name: _schema(message) for message in _reached(roots)}
    paths = {f"/v1/models/{{model}}:{path}": {"post": _operation(service, one.name)} for path, one in METHODS.items()}
    paths["/v1/models"] = {"get": _operation(service, "ListModels")}
    paths["/v1/models/{model}"] = {"get": _operation(service, "GetModel")}
    return {
        "openapi": "3.1.0",
        "info": {"title": service.full_name, "version": metadata.version("plaudit")},
        "paths": paths,
        "components": {"schemas": {**schemas, "Error": ERROR}},
    }


def _operation(service: ServiceDescriptor, name: str) -> Schema:
    method = service.methods_by_name[name]
    parameters = [_parameter("model", "path")]
    if name == "ListModels":
        parameters = [_parameter("page_size", "query"), _parameter("page_token", "query")]
    posted = name in {one.name for one in METHODS.values()}
    body = {"requestBody": {"required": True, "content": _json(method.input_type.name)}} if posted else {}
    answers = {
        "200": _content(method.output_type.name, "the answer"),
        "default": _content("Error", "why there is none"),
    }
    return {"operationId": name, "parameters": parameters, **body, "responses": answers}


def _parameter(name: str, place: str) -> Schema:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


def _content(name: str, description: str) -> Schema:
    return {"description": description, "content": _json(name)}


def _json(name: str) -> Schema:
    return {"application/json": {"schema": _reference(name)}}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _reached(roots: list[Descriptor]) -> list[Descriptor]:
    """These messages and those inside them, each once; well-known types have schemas of their own."""
    found: dict[str, Descriptor] = {}
    waiting = list(roots)
    while waiting:
        message = waiting.pop()
        if message.full_name not in found and message.full_name not in KNOWN:
            found[message.full_name] = message
            waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return list(found.values())


def _schema(message: Descriptor) -> Schema:
    properties = {field.json_name: _repeated(field) for field in message.fields}
    required = [field.json_name for field in message.fields if _is_required(field)]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _repeated(field: FieldDescriptor) -> Schema:
    return {"type": "array", "items": _value(field)} if field.is_repeated else _value(field)


def _value(field: FieldDescriptor) -> Schema:
    if field.message_type is not None:
        return KNOWN.get(field.message_type.full_name) or _reference(field.message_type.name)
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    return SCALARS[field.type]


def _is_required(field: FieldDescriptor) -> bool:
    return behavior.REQUIRED in field.GetOptions().Extensions[behavior.field_behavior]
