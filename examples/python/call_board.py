#!/usr/bin/env python3
"""Calls a board directly over WAMP, and prints its events as they come.

    BOARDWALK_API_KEY_FILE=key BOARDWALK_TENANT=<tenant id> python call_board.py <board uuid> [seconds]

A service is a WAMP client like any other: it joins with its API key as ticket, and the router asks
Boardwalk what the key may do. Needs autobahn (pip install autobahn).
"""

import asyncio
import json
import os
import sys
import uuid
from pathlib import Path

from autobahn.asyncio.component import Component
from autobahn.wamp.exception import ApplicationError


def read_secret(name):
    """The secret of an environment variable, or of the file that NAME_FILE names: never an argument,
    because every user of a machine can read the arguments of its processes."""
    if name in os.environ:
        return os.environ[name]
    if name + "_FILE" in os.environ:
        return Path(os.environ[name + "_FILE"]).read_text().strip()
    sys.exit(f"set {name} or {name}_FILE")


def key_id(key):
    """An API key carries its id: bw_<id>_<secret>. The id is the authid."""
    return str(uuid.UUID(key.split("_")[1]))


def show(kind, value):
    print(json.dumps({kind: value}), flush=True)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    board = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) == 3 else 10
    tenant = os.environ.get("BOARDWALK_TENANT") or sys.exit("set BOARDWALK_TENANT")
    key = read_secret("BOARDWALK_API_KEY")

    url = os.environ.get("BOARDWALK_WAMP_URL", "ws://127.0.0.1:8181/")
    service = Component(
        # A service that runs for ever retries for ever (-1); an example says what is wrong.
        transports=[{"type": "websocket", "url": url, "max_retries": 0}],
        realm=os.environ.get("BOARDWALK_REALM", "s4t"),
        authentication={"ticket": {"authid": key_id(key), "ticket": key}},
    )

    @service.on_join
    async def joined(session, _details):
        for event in ("presence", "readings"):
            topic = f"boardwalk.tenant.{tenant}.board.{board}.{event}"
            await session.subscribe(lambda event=event, **payload: show(event, payload), topic)
        try:
            # The router doesn't end calls by itself: give each a deadline of its own.
            call = session.call(f"boardwalk.board.{board}.ping")
            show("ping", await asyncio.wait_for(call, timeout=10))
        except ApplicationError as error:
            # error.error is the URI: the board's own, or for example wamp.error.no_such_procedure
            # when the board is away.
            show("error", {"uri": error.error, "args": error.args})
        await asyncio.sleep(seconds)
        session.leave()

    async def run():
        await service.start(asyncio.get_running_loop())

    try:
        asyncio.run(run())
    except Exception as error:
        sys.exit(f"not connected: {error}")


if __name__ == "__main__":
    main()
