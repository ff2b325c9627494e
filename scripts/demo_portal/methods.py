"""The REST methods that the portal knows, by name, and the scopes that they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scripts.demo_portal.data import PortalData
from scripts.demo_portal.errors import RestError
from scripts.demo_portal.items import ItemMethods
from scripts.demo_portal.legacy import LegacyMethods
from scripts.demo_portal.limits import Clock
from scripts.demo_portal.pages import Method, Params, Reply
from scripts.demo_portal.reference_data import ReferenceMethods

_SCOPES = ("crm", "user", "department")


class Methods:
    """The methods over the data of a portal.

    Attributes:
        by_name: scope ("" where none is needed) and function of each method.
    """

    def __init__(
        self,
        data: PortalData,
        clock: Clock,
        user_id: int,
        scopes: tuple[str, ...],
        token: str,
        file_address: Callable[[Any], str],
    ) -> None:
        self.scopes = scopes
        self.token = token
        methods: dict[str, Method] = {
            "crm.settings.mode.get": lambda _: Reply(data.mode),
            "scope": lambda _: Reply(list(scopes)),
            "server.time": lambda _: Reply(clock.iso(clock.seconds())),
        }
        for family in (
            ItemMethods(data, file_address),
            LegacyMethods(data, file_address),
            ReferenceMethods(data, user_id),
        ):
            methods |= family.by_name
        self.by_name = {
            name: (scope if (scope := name.split(".")[0]) in _SCOPES else "", method)
            for name, method in methods.items()
        }

    def call(self, name: str, params: Params) -> Reply:
        """Run a method.

        Raises:
            RestError: as Bitrix24 would answer.
        """
        scope, method = self.by_name[name]
        if scope and scope not in self.scopes:
            raise RestError(
                403,
                "insufficient_scope",
                f"The request requires higher privileges than provided by the {self.token} token",
            )
        return method(params)
