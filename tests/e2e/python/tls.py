"""redis-py over TLS, its blocking client and the one for asyncio."""

import os
import ssl
import threading

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError
from redis.retry import Retry

from runs import eventually, fails, main, run

PORT = int(os.environ["TLS_PORT"])
PAPERS = os.environ["TLS_PAPERS"]


def paper(name):
    return os.path.join(PAPERS, name)


def options(shown="client", **more):
    own = {"ssl_certfile": paper(f"{shown}.crt"), "ssl_keyfile": paper(f"{shown}.key")} if shown else {}
    return {
        "host": "localhost",
        "port": PORT,
        "ssl": True,
        "ssl_ca_certs": paper("ca.crt"),
        "ssl_check_hostname": True,
        "decode_responses": True,
        "socket_timeout": 60,
        **own,
        **more,
    }


@run
def commands_and_pipelines():
    for protocol in 2, 3:
        r = redis.Redis(**options(protocol=protocol))
        assert r.set("k", "v" * 100_000) and len(r.get("k")) == 100_000
        with r.pipeline() as p:
            for i in range(2000):
                p.incr("n")
            assert p.execute()[-1] == 2000
        r.flushall()


@run
def a_url_says_it_all():
    url = f"rediss://localhost:{PORT}?ssl_ca_certs={paper('ca.crt')}"
    r = redis.Redis.from_url(url, ssl_certfile=paper("client.crt"), ssl_keyfile=paper("client.key"))
    assert r.ping()


@run
def messages_and_waiting():
    r = redis.Redis(**options())
    with r.pubsub() as p:
        p.subscribe("news")
        assert p.get_message(timeout=30)["type"] == "subscribe"
        r.publish("news", "hello")
        assert p.get_message(timeout=30)["data"] == "hello"
    got = []
    waits = threading.Thread(target=lambda: got.append(redis.Redis(**options()).blpop("list", 30)))
    waits.start()
    eventually(lambda: r.info("clients")["blocked_clients"] == 1)
    r.rpush("list", "a")
    waits.join()
    assert got == [("list", "a")]


@run
def versions():
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        assert redis.Redis(**options(ssl_min_version=version)).ping()


@run
def who_is_not_believed():
    fails(ConnectionError, "", redis.Redis(**options(shown=None)).ping)
    fails(ConnectionError, "", redis.Redis(**options(shown="stranger")).ping)
    fails(ConnectionError, "CERTIFICATE_VERIFY_FAILED", redis.Redis(**options(ssl_ca_certs=paper("other.crt"))).ping)


@run
def a_user_and_a_client_by_name():
    admin = redis.Redis(**options())
    admin.acl_setuser("alice", enabled=True, passwords=["+secret"], categories=["+@all"], keys=["a:*"], reset=True)
    for protocol in 2, 3:
        with redis.Redis(**options(username="alice", password="secret", client_name="hers", protocol=protocol)) as r:
            assert r.acl_whoami() == "alice" and r.set("a:1", "v")
            fails(NoPermissionError, "", r.get, "b")
            info = r.client_info()
            assert (info["name"], info["user"], info["resp"]) == ("hers", "alice", str(protocol))
    wrong = redis.Redis(**options(username="alice", password="wrong", retry=Retry(NoBackoff(), 0)))
    fails(AuthenticationError, "invalid username-password pair", wrong.ping)
    assert any(e["reason"] == "auth" and e["username"] == "alice" for e in admin.acl_log())
    assert admin.acl_deluser("alice") == 1


@run
def a_cache_in_the_client():
    # The client wants to hear of Redis 7.4; what it needs is there since 6.0.
    redis.connection.CacheProxyConnection.MIN_ALLOWED_VERSION = "6.0.0"
    other = redis.Redis(**options())
    with redis.Redis(**options(protocol=3, cache_config=CacheConfig())) as r:
        other.set("a", "1")
        before = other.info("commandstats").get("cmdstat_get", {}).get("calls", 0)
        assert [r.get("a") for _ in range(5)] == ["1"] * 5
        assert other.info("commandstats")["cmdstat_get"]["calls"] == before + 1, "the server is asked once"
        other.set("a", "2")
        eventually(lambda: r.get("a") == "2")


@run
async def asynchronous():
    r = redis.asyncio.Redis(**options())
    assert await r.set("k", "v") and await r.get("k") == "v"
    async with r.pipeline() as p:
        assert (await p.incr("n").incr("n").execute()) == [1, 2]
    await r.aclose()


main()
