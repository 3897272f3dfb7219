"""Who is at the console: logging in by API key, the session's cookie, and requests that other sites forge.

A session is as good as its key: the key is looked up on every request, so one that is revoked is out at once.
One that was logged out of is remembered until it would have ended by itself, by all processes of the console
(`ended.py`): so a copy of its cookie opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from fastapi import Request, Response
from msgspec.structs import replace

from oracle_api.access import SCOPE, Keys
from oracle_api.console.ended import Ended
from oracle_api.console.seal import Seal, Session
from oracle_api.limits import Limiter
from pactstream import clock, web
from pactstream.control.tenants import ApiKey, Tenant
from pactstream.web import Refused, retry_after

COOKIE: Final = "pactstream_console"
PATH: Final = "/console"
CHANGE_HEADER: Final = "X-Console"
"""Required of every change, with any value: a page of another origin cannot send it unasked."""

_RENEW_MICROS = 60 * clock.MICROS_PER_SECOND
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Visitor(NamedTuple):
    """The tenant that a request speaks for, its key's record, the key itself for the gateway, the session."""

    tenant: Tenant
    key: ApiKey
    api_key: str
    session_id: str

    @property
    def may_act(self) -> list[str]:
        """What the key is allowed for."""
        return sorted(self.key.scopes)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a session lasts without a request, and at most; microseconds."""

    idle_micros: int
    absolute_micros: int


class Access:
    """Logs in and out, and says whose a request is. `directory_ready` says whether keys are known as of now."""

    def __init__(
        self,
        keys: Keys,
        seal: Seal,
        lifetimes: Lifetimes,
        ended: Ended,
        *,
        console_url: str,
        logins: Limiter,
        requests: Limiter,
        trusted_proxies: int,
    ) -> None:
        self._keys = keys
        self._seal = seal
        self._lifetimes = lifetimes
        self._ended = ended
        self._console_url = console_url
        self._logins = logins
        self._requests = requests
        self._trusted_proxies = trusted_proxies

    def origin(self, request: Request) -> str:
        """The console's own origin (RFC 6454), as the asking browser sees it.

        Raises:
            Refused: 421 the request is for another host: a name that was made to point at us.
        """
        host = request.headers.get("host", "").lower()
        if self._console_url:
            if host != urlsplit(self._console_url).netloc.lower():
                raise Refused(421, "this is not the console's address")
            return self._console_url.lower()
        if host.rpartition(":")[0] not in _LOOPBACK and host not in _LOOPBACK:
            raise Refused(421, "the console answers on loopback only, unless it is told its address")
        return f"{request.scope.get('scheme', 'http')}://{host}"

    def check_change(self, request: Request) -> None:
        """Refuse (403) a change that does not come from the console's own pages."""
        if request.headers.get("origin", "").lower() != self.origin(request):
            raise Refused(403, "a change must come from the console's own pages")
        if CHANGE_HEADER not in request.headers:
            raise Refused(403, f"a change needs the header {CHANGE_HEADER}")

    def login(self, request: Request, api_key: str) -> tuple[Visitor, str]:
        """Whose key it is, and the cookie of a new session.

        Raises:
            Refused: 401 no valid key, 403 the key lacks the scope, 429 too many attempts from this address.
        """
        self.check_change(request)
        self._logins.check(web.address_block(web.client_address(request, self._trusted_proxies)))
        session = Session.begin(api_key.strip(), clock.now_micros())
        return self._visitor(session), self._cookie(request, session)

    def visitor(self, request: Request) -> Visitor:
        """Whose request this is; renews the session.

        Raises:
            Refused: 401 nobody is logged in (any more), 403 the key lacks the scope, 429 too many requests.
        """
        self.origin(request)
        session = self._session(request)
        visitor = self._visitor(session)
        self._requests.check(visitor.key.key_id)
        now = clock.now_micros()
        if now - session.seen_micros > _RENEW_MICROS:
            request.state.cookie = self._cookie(request, replace(session, seen_micros=now))
        return visitor

    def changer(self, request: Request) -> Visitor:
        """As `visitor`, for a change. Raises `Refused` also as `check_change`."""
        self.check_change(request)
        return self.visitor(request)

    def still(self, visitor: Visitor) -> bool:
        """Whether the session and its key still open the console; for what goes on for long."""
        try:
            self._check_key(visitor.api_key)
        except Refused:
            return False
        return not self._ended.has(visitor.session_id)

    async def farewell(self, request: Request) -> None:
        """End the session: in its browser by a cookie, whatever comes, and at all processes of the console.

        Raises:
            Backpressure: others could not be told.
        """
        request.state.cookie = self._set_cookie(request, "", 0)
        session = self._seal.open(request.cookies.get(COOKIE, ""))
        if session is not None:
            until = session.begun_micros + self._lifetimes.absolute_micros
            await self._ended.end(session.session_id, until)

    def _session(self, request: Request) -> Session:
        session = self._seal.open(request.cookies.get(COOKIE, ""))
        now = clock.now_micros()
        if session is None:
            raise Refused(401, "log in first")
        if (
            now - session.begun_micros > self._lifetimes.absolute_micros
            or now - session.seen_micros > self._lifetimes.idle_micros
            or self._ended.has(session.session_id)
        ):
            raise Refused(401, "the session has ended: log in again")
        return session

    def _visitor(self, session: Session) -> Visitor:
        tenant, key = self._check_key(session.api_key)
        return Visitor(tenant, key, session.api_key, session.session_id)

    def _check_key(self, api_key: str) -> tuple[Tenant, ApiKey]:
        found = self._keys.find_key(api_key)
        if found is None:
            raise Refused(401, "there is no such API key")
        _, key = found
        state = key.state(clock.now_micros())
        if state != "valid":
            # Whoever presents it knows the secret: saying why gives nothing away.
            raise Refused(401, f"the API key is {state}")
        if SCOPE not in key.scopes:
            raise Refused(403, f"the API key lacks the scope {SCOPE}")
        return found

    def _cookie(self, request: Request, session: Session) -> str:
        left = session.begun_micros + self._lifetimes.absolute_micros - clock.now_micros()
        return self._set_cookie(request, self._seal.close(session), left // clock.MICROS_PER_SECOND)

    def _set_cookie(self, request: Request, value: str, seconds: int) -> str:
        answer = Response()
        answer.set_cookie(
            COOKIE,
            value,
            max_age=seconds,
            path=PATH,
            secure=not _is_plain_loopback(self.origin(request)),
            httponly=True,
            samesite="strict",
        )
        return answer.headers["set-cookie"]


def _is_plain_loopback(origin: str) -> bool:
    parts = urlsplit(origin)
    return parts.scheme == "http" and parts.netloc.rpartition(":")[0] in _LOOPBACK


def not_confirmed() -> Refused:
    """The answer while keys cannot be confirmed: a revocation may have been missed."""
    return Refused(503, "API keys cannot be confirmed right now", headers=retry_after(2))
