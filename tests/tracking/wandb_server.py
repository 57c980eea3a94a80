"""A stand-in for W&B's server: as much of it as a run needs, and every way to fail."""

from __future__ import annotations

import http.server
import json
import re
import threading
from typing import Any, Literal

Behaviour = Literal["well", "refuses", "breaks", "hangs", "answers GET alone"]


class WandbServer(http.server.ThreadingHTTPServer):
    """Listens on a free port of this machine.

    Attributes:
        behaviour: how it is from now on.
        asked: what was asked of it: a GraphQL operation or a path, in order.
        bodies: of all requests, as text.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour: Behaviour = "well"
        self.asked: list[str] = []
        self.bodies: list[str] = []
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that gave up are what this is for."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.respond()

    def respond(self) -> None:
        server, body = self.server, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        operation, variables = self.path, {}
        if self.path == "/graphql":
            question = json.loads(body)
            operation, variables = re.search(r"(?:query|mutation)\s+(\w+)", question["query"])[1], question["variables"]
        server.asked.append(operation)
        server.bodies.append(body.decode(errors="replace"))
        if server.behaviour == "hangs" or (server.behaviour == "answers GET alone" and self.command != "GET"):
            server.closing.wait()
        elif server.behaviour == "refuses":
            self.answer(401, {"errors": [{"message": "unauthorized"}]})
        elif server.behaviour == "breaks":
            self.answer(500, {"errors": [{"message": "broken"}]})
        else:
            self.answer(200, {"data": _data(operation, variables or {})})

    def answer(self, status: int, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _data(operation: str, variables: dict[str, Any]) -> dict[str, Any]:
    project = {"id": "p", "name": variables.get("project"), "entity": {"id": "e", "name": "me"}}
    if operation == "UpsertBucket":
        names = {"id": "b", "name": variables["name"], "displayName": variables["displayName"] or "x"}
        rest = {"description": "", "config": "{}", "sweepName": None, "historyLineCount": 0, "project": project}
        return {"upsertBucket": {"bucket": {**names, **rest}, "inserted": True}}
    if operation == "RunResumeStatus":
        return {"model": {**project, "bucket": None}}
    if operation == "CreateRunFiles":
        return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []}}
    return {}
