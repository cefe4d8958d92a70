"""The draft model that an engine or a session is given."""

from __future__ import annotations

import os

from realm_ext.errors import RealmError
from realm_ext.model import Model

Draft = Model | str | os.PathLike[str] | None


def load_draft(draft: Draft) -> tuple[Model | None, str]:
    """The draft model, or why there is none though one was asked for."""
    if draft is None or isinstance(draft, Model):
        return draft, ""
    try:
        return Model(draft), ""
    except RealmError as error:
        return None, f"the draft model could not be loaded: {error}"
