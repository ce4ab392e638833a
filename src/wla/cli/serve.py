"""`wla serve`: a policy on a websocket."""

from __future__ import annotations

import logging
import os
import ssl
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wla.cli.command import CliArgs, Command
from wla.cli.names import require_path
from wla.policy.hub import find
from wla.policy.inference_options import InferenceOptions

if TYPE_CHECKING:
    from wla.serving import ServerConfig
    from wla.types import Policy

LOOPBACK = ("127.0.0.1", "::1", "localhost")
TOKEN_VARIABLE = "WLA_TOKEN"
NEEDED = {"websockets": "websockets", "msgpack": "msgpack", "prometheus_client": "prometheus-client"}
"""Module -> package, of those that are no part of a plain installation."""


class ServeArgs(InferenceOptions, CliArgs):
    """Serve a policy to robots and simulators, over the websocket protocol of openpi's client, or of RoboTwin's.

    Any number of clients at once: their requests are computed in batches, each client has an episode of its own, which
    begins with a new prompt. GET /healthz and /metrics (Prometheus) answer beside it. Listens on this machine only;
    for others give --host, a token in WLA_TOKEN, and a certificate. docs/guides/serving.md has clients.

    examples:
      wla serve nano-memory
      wla eval ws://127.0.0.1:8000 --tasks press_count --out outputs/remote
      wla serve my_run --protocol xpolicylab --port 19000
      WLA_TOKEN=.. wla serve my_run --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
    """

    policy: str
    """A checkpoint: folder, bundled name or hub id."""
    robot: str | None = None
    """Robot that it acts for, of a policy for several."""
    protocol: Literal["openpi", "xpolicylab"] = "openpi"
    """What is spoken on the port: openpi's protocol, or XPolicyLab's, in which RoboTwin evaluates."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port; 0 for any free one."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own needs a token and a certificate."""
    tls_cert: Path | None = None
    """Certificate (PEM) for wss://."""
    tls_key: Path | None = None
    """Private key (PEM) of the certificate."""
    unencrypted: bool = False
    """Listen beyond this machine without encryption: for a network that you trust, or behind a tunnel."""
    imagine: bool = False
    """Also serve subgoal images, to clients that ask for them."""
    device: str | None = None
    """Device of the policy (cuda, cpu); chosen by the policy when left out."""
    max_batch: int = Field(default=32, ge=1)
    """Requests that are computed at once, at most."""
    batch_window_ms: float = Field(default=5.0, ge=0, le=1000)
    """Milliseconds that a batch waits for clients that came with the last one."""


def serve(args: ServeArgs) -> int:
    find(args.policy)
    require_serving()
    config = _config(args)
    import asyncio

    from wla.policy.wla_policy import load_policy
    from wla.serving.logs import json_lines

    json_lines(logging.getLogger("wla.serving"))
    policy = load_policy(
        args.policy,
        imagination=args.imagine,
        device=args.device,
        robot=args.robot,
        **args.inference,
    )
    policy.robot_spec.require_known(args.policy)
    asyncio.run(_serve(policy, args, config))
    return 0


def require_serving() -> None:
    """ValueError where a package that serving and watching need is missing."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise ValueError(f"serving needs {', '.join(missing)}: pip install {' '.join(missing)}")


async def _serve(policy: Policy, args: ServeArgs, config: ServerConfig) -> None:
    import asyncio

    from wla.serving import PolicyServer

    try:
        async with PolicyServer(policy, args.policy, config) as server:
            scheme = "ws" if config.tls is None else "wss"
            print(f"serving {args.policy} on {scheme}://{args.host}:{server.port} (Ctrl-C stops)", flush=True)
            await asyncio.Event().wait()
    except OSError as error:
        raise ValueError(
            f"cannot listen on {args.host}:{args.port} ({error.strerror}); choose another --port"
        ) from error


def _config(args: ServeArgs) -> ServerConfig:
    """ValueError for a server that others could use or listen to unasked."""
    from wla.serving import ServerConfig
    from wla.serving.wire import require_token

    token = os.environ.get(TOKEN_VARIABLE) or None
    if token is not None:
        require_token(token)
    if args.host not in LOOPBACK and token is None:
        raise ValueError(
            f"--host {args.host} is open to others: put a token into {TOKEN_VARIABLE}, for clients to send"
        )
    if (args.tls_cert is None) != (args.tls_key is None):
        raise ValueError("--tls-cert and --tls-key go together")
    if args.host not in LOOPBACK and args.tls_cert is None and not args.unencrypted:
        raise ValueError(f"--host {args.host} leaves this machine: give --tls-cert and --tls-key, or --unencrypted")
    return ServerConfig(
        host=args.host,
        port=args.port,
        protocol=args.protocol,
        token=token,
        tls=_tls(args.tls_cert, args.tls_key),
        max_batch=args.max_batch,
        batch_window_s=args.batch_window_ms / 1000,
    )


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None or key is None:
        return None
    require_path(certificate, "certificate")
    require_path(key, "key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asked: list[bool] = []

    def no_password() -> str:  # nobody may be there to type one
        asked.append(True)
        return ""

    try:
        context.load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, OSError) as error:
        if asked:
            raise ValueError(f"{key}: is encrypted; give it without a password (openssl pkey -in {key})") from error
        raise ValueError(f"{certificate}: is no certificate with the key {key} ({error})") from error
    return context


SERVE = {"serve": Command(ServeArgs, serve, positional=("policy",))}
