"""The ASGI app for ``uvicorn app.main:app``; settings come from the environment."""

from chronoduck.api import create_app

__all__ = ["app"]

app = create_app()
