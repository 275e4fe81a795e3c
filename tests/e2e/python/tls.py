"""redis-py over TLS, its blocking client and the one for asyncio."""

import os
import ssl
import threading

import redis
import redis.asyncio
from redis.exceptions import ConnectionError

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
async def asynchronous():
    r = redis.asyncio.Redis(**options())
    assert await r.set("k", "v") and await r.get("k") == "v"
    async with r.pipeline() as p:
        assert (await p.incr("n").incr("n").execute()) == [1, 2]
    await r.aclose()


main()
