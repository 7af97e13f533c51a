"""`penstock tables`: the lake's tables and views as statements for Athena, or as the JSON that Terraform reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import providers
from penstock.lake.ddl import statements
from penstock.lake.glue import described
from penstock.lake.tables import tables
from penstock.lake.views import views

ROOTS: Final = {"intermediate": "s3://INTERMEDIATE", "final": "s3://FINAL"}
"""What stands for the two stores' URLs in `penstock/lake/tables.json`, which is `document(ROOTS)`."""


def document(roots: Mapping[str, str]) -> dict[str, Any]:
    """`tables` by name as Glue describes them, `views` in an order in which each can be made."""
    known = tables(providers.names())
    return {
        "tables": described(known, roots),
        "views": [
            {"name": view.name, "statement": view.statement, "columns": [list(column) for column in view.columns]}
            for view in views(known)
        ],
    }


def script(roots: Mapping[str, str]) -> str:
    """Every statement, tables first; Athena runs one at a time."""
    known = tables(providers.names())
    return ";\n\n".join([*statements(known, roots).values(), *(view.statement for view in views(known))]) + ";"
