"""The API's own description: the OpenAPI document, and a page that shows it without any network."""

from __future__ import annotations

import json
import mimetypes

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web
from tornado.escape import xhtml_escape

from ilab_jupyter.errors import NotFound
from ilab_jupyter.server.base import IlabHandler

# Only these leave the folder of the page's library, so no path from a request ever reaches the disk.
FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>ilab-jupyter API</title>
<link rel="icon" href="{base}/static/favicon-32x32.png">
<link rel="stylesheet" href="{base}/static/swagger-ui.css">
</head>
<body>
<div id="api" data-document="{document}"></div>
<script src="{base}/static/swagger-ui-bundle.js"></script>
<script src="{base}/static/start.js"></script>
</body>
</html>
"""

# The library of the page draws OpenAPI 3.0; what 3.1 writes as "or null" is said in 3.0's way for it.
START = """"use strict";
const node = document.getElementById("api");
const authorize = request => {
  const cookie = document.cookie.split("; ").find(part => part.startsWith("_xsrf="));
  if (cookie) request.headers["X-XSRFToken"] = decodeURIComponent(cookie.slice(6));
  return request;
};
const older = value => {
  if (Array.isArray(value)) return value.map(older);
  if (value === null || typeof value !== "object") return value;
  const parts = Object.entries(value).map(([name, part]) => [name, older(part)]);
  const { anyOf, ...rest } = Object.fromEntries(parts);
  if (!Array.isArray(anyOf)) return rest;
  const some = anyOf.filter(part => part.type !== "null");
  const nullable = some.length < anyOf.length ? { nullable: true } : {};
  return some.length === 1 ? { ...some[0], ...rest, ...nullable } : { anyOf: some, ...rest, ...nullable };
};
fetch(node.dataset.document, authorize({ headers: {} }))
  .then(answer => answer.json())
  .then(schema =>
    SwaggerUIBundle({
      spec: { ...older(schema), openapi: "3.0.3" },
      domNode: node,
      validatorUrl: null,
      requestInterceptor: authorize,
    }));
"""


class OpenApiHandler(IlabHandler):
    """ilab/api/openapi.json"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """This API as an OpenAPI 3.1 document."""
        self.finish(json.dumps(self.settings["ilab_openapi"](self.base_url)))


class DocsHandler(IlabHandler):
    """ilab/api/docs"""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The page that shows and tries this API."""
        # Reading the token puts the cookie there that the page's own requests need.
        _ = self.xsrf_token
        base = url_path_join(self.base_url, "ilab/api/docs")
        document = url_path_join(self.base_url, "ilab/api/openapi.json")
        page = PAGE.format(base=xhtml_escape(base), document=xhtml_escape(document))
        self.finish(page, set_content_type="text/html; charset=utf-8")

    @property
    def content_security_policy(self) -> str:
        """The page's own scripts and requests, and nothing from elsewhere."""
        return (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; connect-src 'self'; frame-ancestors 'self'"
        )


class DocsFileHandler(IlabHandler):
    """ilab/api/docs/static/{file}"""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, file: str) -> None:
        """A file of the page."""
        self.set_header("Cache-Control", "private, max-age=3600")
        if file == "start.js":
            self.finish(START, set_content_type="text/javascript; charset=utf-8")
            return
        if file not in FILES:
            raise NotFound("The page has no such file.", "See ilab/api/docs.")
        from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

        content_type = mimetypes.guess_type(file)[0] or "application/octet-stream"
        self.finish((swagger_ui_path / file).read_bytes(), set_content_type=content_type)
