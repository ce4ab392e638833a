"""A hub on this machine: the requests of `huggingface_hub` that pushing and pulling need, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class HubServer:
    """Repositories in memory: (type, id) -> path -> content. requests: method, path and Authorization of each."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.private: dict[tuple[str, str], bool] = {}
        self.commits = 0
        self.requests: list[tuple[str, str, str]] = []
        self.refuse: int | None = None
        """Status of the answer to everything."""


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub_server() -> Iterator[tuple[HubServer, str]]:
    """A running server and its URL."""
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.respond("GET")

        def do_HEAD(self) -> None:
            self.respond("HEAD")

        def do_POST(self) -> None:
            self.respond("POST")

        def respond(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = unquote(urlsplit(self.path).path)
            token = self.headers.get("Authorization", "")
            hub.requests.append((method, path, token))
            if hub.refuse is not None:
                return self.send({"error": f"no, {token}"}, hub.refuse)
            answer(self, method, path.strip("/").split("/"), body)
            return None

        def send(self, tree: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
            self.send_bytes(json.dumps(tree).encode(), status, headers)

        def send_bytes(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    def answer(request: Handler, method: str, parts: list[str], body: bytes) -> None:
        match parts:
            case ["api", "repos", "create"]:
                wanted = json.loads(body)
                key = (wanted.get("type", "model"), f"{wanted['organization']}/{wanted['name']}")
                url = f"http://{request.headers['Host']}/{key[1]}"
                if key in hub.files:
                    return request.send({"error": "exists", "url": url}, 409)
                hub.files[key] = {}
                hub.private[key] = wanted.get("visibility") == "private" or bool(wanted.get("private"))
                return request.send({"url": url})
            case ["api", "validate-yaml"]:
                return request.send({"errors": [], "warnings": []})
            case ["api", kinds, owner, name, *rest]:
                key = (kinds.removesuffix("s"), f"{owner}/{name}")
                if key not in hub.files:
                    return request.send({"error": "not found"}, 404, {"X-Error-Code": "RepoNotFound"})
                return answer_repository(request, key, rest, body)
            case ["datasets", owner, name, "resolve", _, *path]:
                return send_file(request, ("dataset", f"{owner}/{name}"), "/".join(path))
            case [owner, name, "resolve", _, *path]:
                return send_file(request, ("model", f"{owner}/{name}"), "/".join(path))
        return request.send({"error": f"unknown {method} {parts}"}, 404)

    def answer_repository(request: Handler, key: tuple[str, str], rest: list[str], body: bytes) -> None:
        files = hub.files[key]
        match rest:
            case [] | ["revision", _]:
                siblings = [
                    {"rfilename": path, "size": len(content), "blobId": blob_id(content)}
                    for path, content in files.items()
                ]
                info = {"id": key[1], "sha": f"{hub.commits:040x}", "private": hub.private[key], "siblings": siblings}
                return request.send(info | {"tags": [], "downloads": 0, "likes": 0})
            case ["tree", *_]:
                rows = [
                    {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
                    for path, content in files.items()
                ]
                return request.send(rows)
            case ["preupload", _]:
                wanted = [each["path"] for each in json.loads(body)["files"]]
                modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in wanted]
                return request.send({"files": modes})
            case ["commit", _]:
                for line in body.decode().splitlines():
                    operation = json.loads(line)
                    value = operation["value"]
                    if operation["key"] == "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    elif operation["key"] == "deletedFile":
                        del files[value["path"]]
                hub.commits += 1
                url = f"http://{request.headers['Host']}/{key[1]}/commit/{hub.commits:040x}"
                return request.send({"success": True, "commitOid": f"{hub.commits:040x}", "commitUrl": url})
        return request.send({"error": f"unknown {rest}"}, 404)

    def send_file(request: Handler, key: tuple[str, str], path: str) -> None:
        content = hub.files[key][path]
        request.send_bytes(content, headers={"ETag": f'"{blob_id(content)}"', "X-Repo-Commit": f"{hub.commits:040x}"})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
