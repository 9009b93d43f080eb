"""Starting the server."""

import contextlib
import socket
from collections.abc import Callable

import uvicorn

from lure_jax.errors import UserError
from lure_jax.inference import weights
from lure_jax.serve.api import create_app
from lure_jax.serve.engine import Engine
from lure_jax.serve.limits import Limits


def serve(model: str, host: str, port: int, limits: Limits, tell: Callable[[str], None] = print) -> None:
    """Serves until it is interrupted.

    Args:
      model: name, model folder or training workdir.
      host: address to listen on.
      port: 0 for any free one.
      limits: of requests.
      tell: called with the address, once the server listens.

    Raises:
      UserError: no such model, or an address that cannot be used.
    """
    engine = Engine(weights.load(model), model, limits)
    with listen(host, port) as listener:
        server = uvicorn.Server(
            uvicorn.Config(create_app(engine), log_level="warning", timeout_graceful_shutdown=5, server_header=False)
        )
        engine.begin(engine.warm)
        name = f"[{host}]" if ":" in host else host
        tell(f"http://{name}:{listener.getsockname()[1]} serves {model}; stop it with Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises again once it has ended in order
            server.run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on; UserError if the address is taken or is none of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise UserError(f"{host} port {port} cannot be listened on ({error}); choose by --host and --port.") from error
