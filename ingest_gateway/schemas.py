"""The schemas of everything on Kafka, read-only, as a Confluent Schema Registry serves them.

Kafka tools decode our topics with it. The ids are fixed in `schemas/registry.json`; nothing can be registered.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from pactstream import avro
from pactstream.avro import RegisteredSchema

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_SUBJECT_UNKNOWN, _VERSION_UNKNOWN, _SCHEMA_UNKNOWN, _VERSION_INVALID = 40401, 40402, 40403, 42202


class _Answer(JSONResponse):
    media_type = _MEDIA_TYPE


def router() -> APIRouter:
    """The routes; open to all, because the schemas are."""
    routes = APIRouter(prefix="/schema-registry", tags=["Schemas"], default_response_class=_Answer)

    @routes.get("/subjects", summary="Names of all subjects")
    async def subjects() -> _Answer:
        """Sorted."""
        return _Answer(sorted({one.subject for one in avro.registered()}))

    @routes.get("/subjects/{subject}/versions", summary="Versions of a subject")
    async def versions(subject: str) -> _Answer:
        """Ascending."""
        found = _subject(subject)
        return _Answer([one.version for one in found]) if found else _unknown_subject(subject)

    @routes.get("/subjects/{subject}/versions/{version}", summary="One version of a subject")
    async def version(subject: str, version: str) -> _Answer:
        """`version` is a number or `latest`."""
        found = _subject(subject)
        if not found:
            return _unknown_subject(subject)
        if version == "latest":
            return _Answer(_described(found[-1]))
        if not (version.isascii() and version.isdigit()):
            return _fault(
                422, _VERSION_INVALID, f"The specified version '{version}' is not a valid version id."
            )
        wanted = [one for one in found if str(one.version) == version]
        return _Answer(_described(wanted[0])) if wanted else _fault(404, _VERSION_UNKNOWN, "Version not found.")

    @routes.get("/schemas/ids/{schema_id}", summary="The schema with this id")
    async def schema(schema_id: int) -> _Answer:
        """The id is what records carry in bytes 1 to 4."""
        wanted = [one for one in avro.registered() if one.id == schema_id]
        if not wanted:
            return _fault(404, _SCHEMA_UNKNOWN, "Schema not found")
        return _Answer({"schema": wanted[0].text})

    return routes


def _subject(name: str) -> list[RegisteredSchema]:
    return sorted((one for one in avro.registered() if one.subject == name), key=lambda one: one.version)


def _described(one: RegisteredSchema) -> dict[str, Any]:
    return {"subject": one.subject, "version": one.version, "id": one.id, "schema": one.text}


def _unknown_subject(name: str) -> _Answer:
    return _fault(404, _SUBJECT_UNKNOWN, f"Subject '{name}' not found.")


def _fault(status: int, code: int, message: str) -> _Answer:
    return _Answer({"error_code": code, "message": message}, status)
