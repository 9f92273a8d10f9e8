"""The command `python -m web`: starts the online demo."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import signal
import socket
import sys
from typing import Any

from waitress.server import create_server

from web.app import create_app
from web.config import read_config
from zssr.errors import ZssrError

MORE_THREADS = 16  # beside one for each stream
BODY_SLACK = 32_000_000  # above what is taken: so far the application says itself, and better, that it is too large


def main() -> int:
    """Serve until Control-C. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m web", description="Start the online demo of zssr.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=5000, help="default: 5000")
    parser.add_argument("--config", metavar="FILE", help="JSON with the server's settings; see the README")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="one of them; repeat it")
    options = parser.parse_args()
    if not 0 <= options.port <= 65535:
        parser.error(f"--port {options.port}: must lie between 0 and 65535")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("zssr.web").setLevel(logging.INFO)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        listening = _bound(options.host, options.port)  # before the workers take their time
    except OSError as error:
        print(f"web: {options.host}:{options.port}: cannot be listened on ({error.strerror or error})", file=sys.stderr)
        return 2
    try:
        config = read_config(options.config, options.set)
        print("starting the workers ...", file=sys.stderr, flush=True)
        app = create_app(dataclasses.asdict(config))
    except (ZssrError, OSError) as error:
        print(f"web: {error}", file=sys.stderr)
        return 2
    server: Any = create_server(
        app, sockets=[listening], threads=config.max_streams + MORE_THREADS,
        connection_limit=config.max_streams + 400, ident=None, channel_timeout=60,
        max_request_body_size=BODY_SLACK + app.config["MAX_CONTENT_LENGTH"],
    )  # fmt: skip
    port = listening.getsockname()[1]
    print(f"zssr is at http://{options.host}:{port}", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # as service managers stop a server
    server.run()
    print("stopped; what was not finished begins again at the next start", file=sys.stderr)
    return 0


def _bound(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    if sys.platform != "win32":  # where it would mean that two may listen
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(address)
    return bound


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # during the start
        print("web: interrupted", file=sys.stderr)
        sys.exit(130)
