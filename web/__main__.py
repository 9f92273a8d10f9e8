"""The command `python -m web`: starts the online demo."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import signal
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
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("zssr.web").setLevel(logging.INFO)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    try:
        config = read_config(options.config, options.set)
        print("starting the workers ...", file=sys.stderr, flush=True)
        app = create_app(dataclasses.asdict(config))
    except (ZssrError, OSError) as error:
        print(f"web: {error}", file=sys.stderr)
        return 2
    try:
        server: Any = create_server(
            app, host=options.host, port=options.port, threads=config.max_streams + MORE_THREADS,
            connection_limit=config.max_streams + 400, ident=None, channel_timeout=60,
            max_request_body_size=BODY_SLACK + app.config["MAX_CONTENT_LENGTH"],
        )  # fmt: skip
    except OSError as error:
        print(f"web: {options.host}:{options.port}: cannot be listened on ({error.strerror or error})", file=sys.stderr)
        return 2
    # A name such as localhost may stand for several addresses.
    port = server.effective_listen[0][1] if hasattr(server, "effective_listen") else server.effective_port
    print(f"zssr is at http://{options.host}:{port}", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # as service managers stop a server
    server.run()
    print("stopped; what was not finished goes on at the next start", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
