"""A server that is told of new weights: it only says so."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers as the test scripts it, and remembers what was asked."""

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        self.server.seen.append((self.path, body, self.headers.get("Authorization")))
        scripted = self.server.answers.get(self.path, (404, {}))
        status, answer = scripted.pop(0) if isinstance(scripted, list) else scripted
        if isinstance(answer, list):
            answer = answer.pop(0)
        # What vLLM says of adapters is plain text.
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@contextmanager
def weight_server_at(port: int = 0) -> Iterator[Any]:
    """Gives a server that takes weights, as far as its answers go."""
    found: Any = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    found.seen = []
    found.answers = {
        "/collective_rpc": (200, {"results": [None]}),
        "/reset_prefix_cache": (200, {"success": True}),
        "/v1/load_lora_adapter": (200, "Success: LoRA adapter added successfully."),
    }
    found.url = f"http://127.0.0.1:{found.server_port}"
    thread = threading.Thread(target=found.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def free_address() -> str:
    """Return an address where nobody listens yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"
