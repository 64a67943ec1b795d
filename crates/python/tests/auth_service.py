"""Replaces the login service of the real runtime: on loopback, with an account for everyone."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from openai_codex import CodexConfig
from openai_codex.testing import ScriptedModel

USER_CODE = "ABCD-1234"
ACCOUNT = {
    "id": "account",
    "plan_type": "pro",
    "name": "A user",
    "structure": "personal",
    "profile_picture_url": None,
    "account_routing_override": "NO_CONSTRAINT",
    # The tests request nothing else.
    "workspace_backend_origin": "https://127.0.0.1:9",
}


class AuthService:
    """The service. It ends with its ``with`` statement."""

    def __init__(self) -> None:
        self._approved = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                status, body = service.response(self.path)
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = respond

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> "AuthService":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def config(self, model: ScriptedModel) -> CodexConfig:
        """The configuration of a runtime that logs in at this service, and can reach no other."""
        model.add_config('cli_auth_credentials_store = "file"\nmodel_providers.scripted.requires_openai_auth = true\n')
        config: CodexConfig = model.config()
        config.config_overrides = (*config.config_overrides, f'chatgpt_base_url="{self.url}/backend-api"')
        service = {"CODEX_APP_SERVER_LOGIN_ISSUER": self.url, "HTTPS_PROXY": "http://127.0.0.1:9"}
        config.env = {**(config.env or {}), **service}
        return config

    def approve(self) -> None:
        """The user enters the code."""
        self._approved.set()

    def response(self, path: str) -> tuple[int, Any]:
        if path == "/api/accounts/deviceauth/usercode":
            return 200, {"device_auth_id": "device", "user_code": USER_CODE, "interval": "0"}
        if path == "/api/accounts/deviceauth/token":
            if not self._approved.is_set():
                # The response of a service until the user has entered the code.
                return 403, {}
            return 200, {"authorization_code": "code", "code_challenge": "challenge", "code_verifier": "verifier"}
        if path == "/oauth/token":
            return 200, {"id_token": _token(), "access_token": _token(), "refresh_token": "refresh"}
        if path == "/backend-api/wham/accounts/check":
            return 200, {"accounts": [ACCOUNT], "default_account_id": "account", "account_ordering": ["account"]}
        return 404, {}


def _token() -> str:
    """A token for an account. Its signature is not checked."""
    account = {"chatgpt_plan_type": "pro", "chatgpt_account_id": "account", "chatgpt_user_id": "user"}
    claims = {"email": "user@example.org", "exp": 4_102_444_800, "https://api.openai.com/auth": account}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, claims)]
    return b".".join([*parts, b"signature"]).decode()
