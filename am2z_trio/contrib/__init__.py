"""What puts a runtime into other people's frameworks, a package for each kind of them.

* `asgi` - FastAPI, Starlette, Litestar, Quart: whatever speaks ASGI
"""
