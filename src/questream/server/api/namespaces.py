"""The list of namespaces."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from questream.server.access import Role
from questream.server.services import LoggedIn, Serving, visible_namespaces

router = APIRouter(tags=["namespaces"])


class Namespace(BaseModel):
    """A namespace, and what the login may do there."""

    namespace: str
    role: str
    reads_texts: bool


class NamespaceList(BaseModel):
    """The namespaces that the login may see, by name."""

    namespaces: list[Namespace]


@router.get("/namespaces")
def list_namespaces(services: Serving, login: LoggedIn) -> NamespaceList:
    """The namespaces that the login may see."""
    return NamespaceList(
        namespaces=[
            Namespace(
                namespace=name,
                role=max(role for role in Role if login.may(role, name)).name.lower(),
                reads_texts=login.reads_texts(name),
            )
            for name in visible_namespaces(services, login)
        ]
    )
