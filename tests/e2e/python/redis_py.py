"""redis-py, its blocking client, over RESP2 with its own parser or over RESP3 with hiredis."""

import os
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    ExecAbortError,
    LockError,
    LockNotOwnedError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    WatchError,
)
from redis.keyspace_notifications import EventType, KeyeventChannel, KeyspaceChannel, KeyspaceNotifications
from redis.retry import Retry

from runs import FOLDER, PORT, at_least, eventually, fails, main, run

RESP = int(os.environ.get("RESP", "2"))
PARSER = {2: redis.connection._RESP2Parser, 3: redis.connection._HiredisParser}[RESP]


def connect(**options):
    """A client with a pool of its own."""
    options = {"decode_responses": True, "socket_timeout": 60, **options}
    pool = redis.ConnectionPool(host="127.0.0.1", port=PORT, protocol=RESP, parser_class=PARSER, **options)
    return redis.Redis.from_pool(pool)


def in_threads(*fs):
    """Runs functions side by side and returns what they return."""
    results, errors = [None] * len(fs), []

    def call(i):
        try:
            results[i] = fs[i]()
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(len(fs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
        assert not t.is_alive(), "a thread does not end"
    for e in errors:
        raise e
    return results


def blocked(r):
    return int(r.info("clients")["blocked_clients"])


@run
def the_protocol_is_the_one_asked_for():
    r = connect(client_name="me")
    assert r.client_info()["resp"] == str(RESP)
    assert r.client_getname() == "me"
    if at_least(7, 2):
        assert r.client_info()["lib-name"].startswith("redis-py")
        assert r.client_info()["lib-ver"] == redis.__version__


@run
def strings():
    r = connect()
    assert r.set("s", "v") is True
    assert r.set("s", "w", nx=True) is None
    assert r.set("s", "w", xx=True, get=True, keepttl=True) == "v"
    assert r.set("s", "x", px=60_000) is True and 59_000 < r.pttl("s") <= 60_000
    assert r.getex("s", persist=True) == "x" and r.ttl("s") == -1
    assert (r.incr("n"), r.incrby("n", 41), r.decr("n", 2)) == (1, 42, 40)
    assert r.incrbyfloat("f", 0.1) == 0.1 and r.incrbyfloat("f", 0.2) == 0.3
    assert r.mset({"a": 1, "b": "zwei"}) is True and r.mget("a", "none", "b") == ["1", None, "zwei"]
    assert r.msetnx({"a": 2, "c": 3}) is False
    assert r.append("b", "!") == 5 and r.getrange("b", 1, -2) == "wei" and r.strlen("b") == 5
    assert r.setrange("b", 0, "Z") == 5 and r.getdel("b") == "Zwei!" and r.get("b") is None
    assert r.setbit("bits", 7, 1) == 0 and r.bitcount("bits") == 1 and r.bitpos("bits", 1) == 7
    assert r.bitfield("bits").set("u8", 8, 255).incrby("u8", 8, 10, "SAT").get("u8", 0).execute() == [0, 255, 1]
    raw = connect(decode_responses=False)
    assert raw.set(b"\x00\xff", bytes(range(256))) and raw.get(b"\x00\xff") == bytes(range(256))
    fails(ResponseError, "not an integer or out of range", r.incr, "s")
    fails(ResponseError, "WRONGTYPE", r.lpush, "s", 1)


@run
def collections():
    r = connect()
    assert r.hset("h", mapping={"a": 1, "b": "two"}) == 2 and r.hgetall("h") == {"a": "1", "b": "two"}
    assert r.hmget("h", "a", "x") == ["1", None] and r.hincrbyfloat("h", "a", 0.5) == 1.5
    assert r.hexists("h", "a") is True and sorted(r.hrandfield("h", 5)) == ["a", "b"]
    assert r.rpush("l", *"abcde") == 5 and r.lrange("l", 0, -1) == list("abcde")
    assert r.lmove("l", "m", "LEFT", "RIGHT") == "a" and r.lpos("l", "e") == 3 and r.lpop("l", 2) == ["b", "c"]
    assert r.lmpop(2, "none", "l", direction="RIGHT", count=5) == ["l", ["e", "d"]]
    assert r.sadd("s", *range(5)) == 5 and r.smembers("s") == set("01234")
    assert r.sinter("s", "none") == set() and list(r.smismember("s", ["1", "9"])) == [1, 0]
    assert r.sintercard(1, ["s"], limit=3) == 3
    assert r.zadd("z", {"a": 1, "b": 2.5, "c": float("inf")}) == 3
    assert r.zscore("z", "b") == 2.5 and r.zmscore("z", ["a", "x"]) == [1.0, None]
    assert r.zadd("z", {"b": 1}, incr=True) == 3.5
    pairs = [list(p) for p in r.zrange("z", 0, -1, withscores=True)]
    assert pairs == [["a", 1.0], ["b", 3.5], ["c", float("inf")]]
    assert r.zrange("z", "(1", "+inf", byscore=True, offset=0, num=1) == ["b"]
    assert r.zrank("z", "b") == 1 and r.zincrby("z", 1, "a") == 2.0
    assert r.zpopmax("z", 1)[0][0] == "c"
    assert r.geoadd("g", [13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"]) == 2
    assert r.geodist("g", "Palermo", "Catania", "km") == 166.2742
    found = r.geosearch("g", longitude=15, latitude=37, radius=200, unit="km", sort="ASC", withdist=True)
    assert [list(f) for f in found] == [["Catania", 56.4413], ["Palermo", 190.4424]]
    assert r.pfadd("p", *range(100)) == 1 and r.pfcount("p") in range(98, 103)
    assert r.object("encoding", "h") == "listpack" and r.type("z") == "zset" and r.memory_usage("h") > 0
    assert r.sort("s", desc=True, start=0, num=2) == ["4", "3"]
    assert r.copy("h", "h2") is True and r.dump("h") and r.touch("h", "l", "none") == 1
    assert r.restore("h3", 0, connect(decode_responses=False).dump("h")) == "OK" and r.hgetall("h3") == r.hgetall("h")
    assert r.expire("h", 100, nx=True) is True and r.expire("h", 50, gt=True) is False and r.persist("h") is True
    assert r.rename("h", "h4") is True and r.exists("h", "h4") == 1 and r.unlink("h4") == 1


@run(needs="HPEXPIRE")
def fields_with_a_time_to_live():
    r = connect()
    r.hset("h", mapping={"a": 1, "b": 2})
    assert r.hpexpire("h", 30, "a", "x") == [1, -2] and r.hexpire("h", 100, "b", nx=True) == [1]
    assert 99 <= r.httl("h", "b")[0] <= 100 and r.hpersist("h", "b") == [1]
    eventually(lambda: r.hgetall("h") == {"b": "2"})
    assert r.hsetex("h", mapping={"c": 3}, ex=100) == 1 and r.hgetex("h", "c", persist=True) == ["3"]
    assert r.hgetdel("h", "c") == ["3"] and r.hkeys("h") == ["b"]


@run
def pipelines():
    r = connect()
    with r.pipeline() as p:
        p.set("a", 1).incr("a").lpush("l", "x").get("a").hgetall("none")
        assert p.execute() == [True, 2, 1, "2", {}]
    with r.pipeline(transaction=False) as p:
        for i in range(10_000):
            p.incr("n")
        assert p.execute() == list(range(1, 10_001))
    with r.pipeline() as p:
        p.set("a", "text").incr("a").get("a")
        done = p.execute(raise_on_error=False)
        assert done[0] is True and isinstance(done[1], ResponseError) and done[2] == "text"
        p.set("b", 1).execute_command("NOSUCH")
        e = fails(ResponseError, "unknown command", p.execute)
        assert "Command # 2" in str(e) and r.exists("b") == 0, "nothing of a transaction with a wrong command is done"
    fails(ExecAbortError, "discarded", lambda: wrong_in_multi(r))


def wrong_in_multi(r):
    with r.client() as c:
        c.execute_command("MULTI")
        fails(ResponseError, "wrong number of arguments", c.execute_command, "GET")
        c.execute_command("EXEC")


@run
def watched_keys():
    r = connect()
    with r.pipeline() as p:
        p.watch("a")
        assert p.get("a") is None
        r.set("a", "another's")
        p.multi()
        p.set("a", "mine")
        fails(WatchError, "Watched variable changed", p.execute)
    assert r.get("a") == "another's"

    def increment(p):
        n = int(p.get("n") or 0)
        p.multi()
        p.set("n", n + 1)

    in_threads(*[lambda: [r.transaction(increment, "n") for _ in range(50)] for _ in range(4)])
    assert r.get("n") == "200", "no increment is lost"


@run
def scripts():
    r = connect()
    double = r.register_script("return redis.call('INCRBY', KEYS[1], redis.call('GET', KEYS[1]) * ARGV[1])")
    r.set("n", 5)
    assert double(keys=["n"], args=[1]) == 10, "the first call finds no script and loads it"
    r.script_flush()
    assert double(keys=["n"], args=[1]) == 20
    assert r.script_exists(double.sha, "0" * 40) == [True, False]
    r.script_flush()
    with r.pipeline() as p:
        p.set("n", 1)
        double(keys=["n"], args=[2], client=p)
        assert p.execute() == [True, 3]
    sha = r.script_load("return {1, 'two', {3, false}, ARGV[1]}")
    assert r.evalsha(sha, 0, "x") == [1, "two", [3, None], "x"]
    assert r.eval("return redis.status_reply('FINE')", 0) == "FINE"
    assert r.eval("return cjson.encode({a=cjson.decode(ARGV[1]).list[2]})", 0, '{"list":[1,2.5]}') == '{"a":2.5}'
    assert r.eval("return cmsgpack.unpack(cmsgpack.pack({1, 'b'}))[2]", 0) == "b"
    fails(NoScriptError, "No matching script", r.evalsha, "f" * 40, 0)
    fails(ResponseError, "MINE own", r.eval, "return redis.error_reply('MINE own')", 0)
    fails(ResponseError, "WRONGTYPE", r.eval, "return redis.call('LPUSH', KEYS[1], 1)", 1, "n")
    fails(ResponseError, "Write commands are not allowed", r.eval_ro, "return redis.call('SET', KEYS[1], 1)", 1, "n")
    assert r.eval_ro("return redis.call('GET', KEYS[1])", 1, "n") == "3"


@run
def a_script_that_does_not_end():
    r, other = connect(), connect(retry=Retry(NoBackoff(), 0))
    before = r.config_get("busy-reply-threshold")
    r.config_set("busy-reply-threshold", 50)

    def kill():
        def is_busy():
            try:
                return not other.ping()
            except redis.exceptions.RedisError as e:
                return "BUSY" in str(e)

        eventually(is_busy)
        return other.script_kill()

    _, killed = in_threads(lambda: fails(ResponseError, "killed", r.eval, "while true do end", 0), kill)
    assert killed in (True, "OK") and other.ping()
    r.config_set("busy-reply-threshold", before["busy-reply-threshold"])


@run(needs="FCALL")
def functions():
    r = connect()
    code = """#!lua name=counters
        local function add(keys, args) return redis.call('INCRBY', keys[1], args[1]) end
        redis.register_function('add', add)
        redis.register_function{function_name='peek', callback=function(keys) return redis.call('GET', keys[1]) end,
            flags={'no-writes'}}
    """
    assert r.function_load(code) == "counters"
    fails(ResponseError, "already exists", r.function_load, code)
    assert r.function_load(code, replace=True) == "counters"
    assert r.fcall("add", 1, "n", 7) == 7 and r.fcall_ro("peek", 1, "n") == "7"
    fails(ResponseError, "Can not execute a script with write flag", r.fcall_ro, "add", 1, "n", 7)
    fails(ResponseError, "Function not found", r.fcall, "none", 0)
    listed = str(r.function_list(library="count*", withcode=True))
    assert "counters" in listed and "peek" in listed and "no-writes" in listed and "#!lua" in listed
    payload = connect(decode_responses=False).function_dump()
    assert r.function_delete("counters") and r.function_list() == []
    assert r.function_restore(payload) and r.fcall("add", 1, "n", 1) == 8
    stats = str(r.function_stats())
    assert "libraries_count" in stats and "LUA" in stats
    assert r.function_flush() and r.function_list() == []


def messages(p, count):
    """The next messages that are no confirmations."""
    got = []
    eventually(lambda: got.append(p.get_message(timeout=1)) or len([m for m in got if m]) == count)
    return [m for m in got if m]


@run
def channels():
    r = connect()
    p = r.pubsub()
    p.subscribe("news", "weather")
    assert [(m["type"], m["channel"], m["data"]) for m in messages(p, 2)] == [
        ("subscribe", "news", 1),
        ("subscribe", "weather", 2),
    ]
    p.psubscribe("n*")
    assert messages(p, 1)[0] == {"type": "psubscribe", "pattern": None, "channel": "n*", "data": 3}
    assert r.publish("news", "hello") == 2, "the channel and the pattern"
    assert messages(p, 2) == [
        {"type": "message", "pattern": None, "channel": "news", "data": "hello"},
        {"type": "pmessage", "pattern": "n*", "channel": "news", "data": "hello"},
    ]
    assert sorted(r.pubsub_channels()) == ["news", "weather"] and r.pubsub_channels("w*") == ["weather"]
    assert [tuple(n) for n in r.pubsub_numsub("news", "none")] == [("news", 1), ("none", 0)] and r.pubsub_numpat() == 1
    p.unsubscribe("news")
    assert messages(p, 1)[0]["data"] == 2 and r.publish("news", "x") == 1
    assert messages(p, 1)[0]["type"] == "pmessage"
    if RESP == 2:  # over RESP3 this client takes the reply for no message
        p.ping("are you there")
        assert messages(p, 1)[0] == {"type": "pong", "pattern": None, "channel": None, "data": "are you there"}
    p.unsubscribe()
    p.punsubscribe()
    eventually(lambda: p.get_message() and not p.subscribed)
    assert r.publish("news", "nobody") == 0 and r.pubsub_channels() == []
    p.close()


@run
def a_channel_keeps_the_order():
    r = connect()
    got = []
    with r.pubsub(ignore_subscribe_messages=True) as p:
        p.subscribe(**{"numbers": lambda m: got.append(int(m["data"]))})
        eventually(lambda: r.pubsub_numsub("numbers")[0][1] == 1)
        worker = p.run_in_thread(sleep_time=0.01)
        with r.pipeline(transaction=False) as sender:
            for i in range(5000):
                sender.publish("numbers", i)
            assert sender.execute() == [1] * 5000
        eventually(lambda: len(got) == 5000)
        assert got == list(range(5000))
        worker.stop()
        worker.join(10)
        assert not worker.is_alive()


@run
def a_transaction_and_a_script_publish():
    r = connect()
    p = r.pubsub(ignore_subscribe_messages=True)
    p.subscribe("c")
    eventually(lambda: r.pubsub_numsub("c")[0][1] == 1)
    with r.pipeline() as t:
        assert t.publish("c", 1).set("a", 1).publish("c", 2).execute() == [1, True, 1]
    assert r.eval("return redis.call('PUBLISH', KEYS[1], ARGV[1])", 1, "c", 3) == 1
    assert [m["data"] for m in messages(p, 3)] == ["1", "2", "3"]
    p.close()


@run(needs="SSUBSCRIBE")
def sharded_channels():
    r = connect()
    p = r.pubsub()
    p.ssubscribe("orders")
    assert messages(p, 1)[0]["type"] == "ssubscribe"
    assert r.spublish("orders", "one") == 1 and r.publish("orders", "not here") == 0
    assert messages(p, 1)[0] == {"type": "smessage", "pattern": None, "channel": "orders", "data": "one"}
    assert r.pubsub_shardchannels() == ["orders"] and tuple(r.pubsub_shardnumsub("orders")[0]) == ("orders", 1)
    p.sunsubscribe("orders")
    assert messages(p, 1)[0]["type"] == "sunsubscribe"
    p.close()


@run
def a_subscriber_comes_back_after_its_connection_was_killed():
    r = connect()
    p = r.pubsub(ignore_subscribe_messages=True)
    p.subscribe("c")
    p.psubscribe("d*")
    eventually(lambda: r.pubsub_numsub("c")[0][1] == 1 and r.pubsub_numpat() == 1)
    assert r.execute_command("CLIENT", "KILL", "TYPE", "pubsub") == 1
    got = []

    def hears():
        r.publish("c", "still")
        r.publish("dog", "too")
        try:
            got.append(p.get_message(timeout=0.05))
        except ConnectionError:
            pass
        return {m["data"] for m in got if m} == {"still", "too"}

    eventually(hears)
    p.close()


@run
def keyspace_notifications():
    r = connect()
    before = r.config_get("notify-keyspace-events")["notify-keyspace-events"]
    r.config_set("notify-keyspace-events", "KEA")
    heard = []
    with KeyspaceNotifications(r) as n:
        n.subscribe(KeyspaceChannel("user:*"))
        n.subscribe(KeyeventChannel(EventType.EXPIRED))
        eventually(lambda: r.pubsub_numpat() == 1 and r.pubsub_numsub("__keyevent@0__:expired")[0][1] == 1)
        r.set("user:1", "ada", px=40)
        r.set("other", 1)
        r.hset("user:2", "name", "bob")
        r.delete("user:2")

        def all_heard():
            m = n.get_message(timeout=1)
            if m:
                heard.append((m.key, m.event_type, m.is_keyspace))
            return len(heard) == 6

        eventually(all_heard)
    assert heard[:4] == [
        ("user:1", "set", True),
        ("user:1", "expire", True),
        ("user:2", "hset", True),
        ("user:2", "del", True),
    ]
    assert set(heard[4:]) == {("user:1", "expired", True), ("user:1", "expired", False)}
    r.config_set("notify-keyspace-events", before)


@run
def streams():
    r = connect()
    ids = [r.xadd("s", {"n": i}) for i in range(10)]
    assert r.xlen("s") == 10 and r.xrange("s", ids[3], ids[4]) == [(ids[3], {"n": "3"}), (ids[4], {"n": "4"})]
    assert r.xrevrange("s", count=1) == [(ids[9], {"n": "9"})]
    assert r.xgroup_create("s", "g", "0") is True
    fails(ResponseError, "BUSYGROUP", r.xgroup_create, "s", "g")
    read = entries(r.xreadgroup("g", "one", {"s": ">"}, count=6))
    assert [i for i, _ in read] == ids[:6]
    assert r.xack("s", "g", *ids[:2]) == 2
    pending = r.xpending("s", "g")
    assert pending["pending"] == 4 and pending["min"] == ids[2] and pending["consumers"][0]["name"] == "one"
    assert [p["message_id"] for p in r.xpending_range("s", "g", "-", "+", 10, "one")] == ids[2:6]
    assert [i for i, _ in r.xclaim("s", "g", "two", 0, ids[2:3])] == ids[2:3]
    start, claimed = r.xautoclaim("s", "g", "two", 0, "0-0", count=2)[:2]
    assert start == ids[4] and [i for i, _ in claimed] == ids[2:4]
    assert [i for i, _ in entries(r.xreadgroup("g", "two", {"s": "0"}))] == ids[2:4]
    assert r.xinfo_stream("s")["length"] == 10 and r.xinfo_groups("s")[0]["pending"] == 4
    assert {c["name"]: c["pending"] for c in r.xinfo_consumers("s", "g")} == {"one": 2, "two": 2}
    assert r.xinfo_stream("s", full=True)["groups"]
    assert r.xtrim("s", maxlen=5, approximate=False) == 5 and r.xdel("s", ids[9]) == 1 and r.xlen("s") == 4
    assert r.xgroup_delconsumer("s", "g", "two") == 2 and r.xgroup_destroy("s", "g") == 1
    assert r.xadd("s", {"a": "b"}, maxlen=2, approximate=False) and r.xlen("s") == 2

    def add():
        eventually(lambda: blocked(r) == 1)
        return r.xadd("s", {"late": "yes"})

    got, added = in_threads(lambda: entries(r.xread({"s": "$"}, block=20_000)), add)
    assert got == [(added, {"late": "yes"})]
    start = time.monotonic()
    assert not r.xread({"s": "$"}, block=100) and 0.09 < time.monotonic() - start < 5


def entries(reply):
    """The entries of the one stream of a reply: redis-py gives pairs over RESP2, a dictionary over RESP3."""
    pairs = list(reply.items()) if isinstance(reply, dict) else reply
    assert len(pairs) == 1
    found = pairs[0][1]
    if found and isinstance(found[0], list) and found[0] and isinstance(found[0][0], (list, tuple)):
        found = found[0]
    return [tuple(e) for e in found]


@run
def blocking_pops():
    r = connect()

    def push():
        eventually(lambda: blocked(r) == 4)
        with r.pipeline() as p:
            p.rpush("l", "a", "b").zadd("z", {"m": 1}).rpush("from", "x").rpush("many", 1, 2, 3)
            assert p.execute() == [2, 1, 1, 3]

    popped, z, moved, many, _ = in_threads(
        lambda: r.blpop(["none", "l"], 20),
        lambda: r.bzpopmin("z", 20),
        lambda: r.blmove("from", "to", 20),
        lambda: r.blmpop(20, 1, "many", direction="LEFT", count=2),
        push,
    )
    assert list(popped) == ["l", "a"] and list(z) == ["z", "m", 1.0] and moved == "x" and many == ["many", ["1", "2"]]
    assert r.lrange("l", 0, -1) == ["b"] and r.lrange("to", 0, -1) == ["x"]
    start = time.monotonic()
    assert r.blpop("none", 0.1) is None and 0.09 < time.monotonic() - start < 5

    def unblock():
        waiting = eventually(lambda: [c for c in r.client_list() if c["cmd"] == "brpop" and "b" in c["flags"]])
        return r.client_unblock(int(waiting[0]["id"]), error=True)

    _, done = in_threads(lambda: fails(ResponseError, "UNBLOCKED", r.brpop, "none", 20), unblock)
    assert done


@run
def locks():
    r = connect()
    held, most, rounds = [], [], []

    def work():
        for _ in range(20):
            with r.lock("lock", timeout=20, sleep=0.001):
                held.append(1)
                most.append(len(held))
                r.incr("rounds")
                held.pop()

    in_threads(*[work] * 4)
    assert r.get("rounds") == "80" and set(most) == {1} and r.exists("lock") == 0
    a, b = r.lock("lock", timeout=20), r.lock("lock", timeout=20, sleep=0.01)
    assert a.acquire() and a.owned() and not b.owned() and b.locked()
    start = time.monotonic()
    assert not b.acquire(blocking_timeout=0.1) and time.monotonic() - start >= 0.08
    fails(LockError, "", b.release)
    assert a.extend(20) and 39_000 < r.pttl("lock") <= 40_000
    assert a.extend(5, replace_ttl=True) and 4_000 < r.pttl("lock") <= 5_000
    assert a.reacquire() and 19_000 < r.pttl("lock") <= 20_000
    a.release()
    short = r.lock("lock", timeout=0.03)
    assert short.acquire()
    eventually(lambda: b.acquire(blocking=False))
    fails(LockNotOwnedError, "", short.release)
    assert b.owned()
    b.release()


@run
def a_cache_in_the_client():
    if RESP != 3:
        return fails(redis.RedisError, "", redis.Redis, port=PORT, protocol=2, cache_config=CacheConfig())
    # The client wants to hear of Redis 7.4; what it needs is there since 6.0.
    redis.connection.CacheProxyConnection.MIN_ALLOWED_VERSION = "6.0.0"
    r = redis.Redis(port=PORT, protocol=3, decode_responses=True, cache_config=CacheConfig(max_size=100))
    other = connect()
    other.mset({"a": "1", "b": "2"})
    calls = lambda: other.info("commandstats").get("cmdstat_get", {}).get("calls", 0)
    before = calls()
    assert [r.get("a") for _ in range(5)] == ["1"] * 5
    assert calls() == before + 1, "the server is asked once"
    other.set("a", "changed")
    eventually(lambda: r.get("a") == "changed")
    assert r.mget("a", "b") == ["changed", "2"] == r.mget("a", "b")
    other.delete("b")
    eventually(lambda: r.mget("a", "b") == ["changed", None])
    other.hset("h", "f", "v")
    assert r.hget("h", "f") == "v" == r.hget("h", "f")
    other.flushall()
    eventually(lambda: r.get("a") is None and r.hget("h", "f") is None)
    assert r.client_trackinginfo()
    r.close()


@run
def scans():
    r = connect()
    with r.pipeline(transaction=False) as p:
        for i in range(3000):
            p.set(f"k:{i}", i).hset("h", f"f{i}", i).sadd("s", f"m{i}").zadd("z", {f"m{i}": i})
        p.execute()
    assert sorted(r.scan_iter("k:*", count=100)) == sorted(f"k:{i}" for i in range(3000))
    assert list(r.scan_iter(_type="zset")) == ["z"]
    assert dict(r.hscan_iter("h")) == {f"f{i}": str(i) for i in range(3000)}
    assert set(r.sscan_iter("s", "m1*")) == {f"m{i}" for i in range(3000) if str(i).startswith("1")}
    assert dict(r.zscan_iter("z", count=500)) == {f"m{i}": float(i) for i in range(3000)}
    assert len(r.keys("k:1?")) == 10 and r.dbsize() == 3003 and r.randomkey()


@run
def a_pool_of_connections():
    pool = redis.BlockingConnectionPool(max_connections=4, timeout=20, port=PORT, protocol=RESP)
    r = redis.Redis(connection_pool=pool, client_name=None)
    in_threads(*[lambda: [r.incr("n") for _ in range(200)] for _ in range(12)])
    assert r.get("n") == b"2400"
    many = connect(max_connections=2)
    one, two = many.connection_pool.get_connection(), many.connection_pool.get_connection()
    fails(ConnectionError, "Too many connections", many.get, "n")
    many.connection_pool.release(one)
    many.connection_pool.release(two)
    assert many.get("n") == "2400"
    pool.disconnect()


@run
def a_killed_connection_is_made_again():
    r, other = connect(), connect()
    mine = r.client_id()
    assert other.client_kill_filter(_id=mine) == 1
    assert r.get("a") is None and r.client_id() != mine, "the client tries again"
    strict = connect(retry=Retry(NoBackoff(), 0))
    mine = strict.client_id()
    assert other.client_kill_filter(_id=mine) == 1
    eventually(lambda: not other.client_list(client_id=[mine]))
    try:
        strict.connection_pool.get_connection()
    except ConnectionError:
        pass
    assert strict.ping()


@run
def what_the_server_tells():
    r = connect(client_name="asker")
    info = r.info()
    assert info["redis_version"].startswith("7.") and info["process_id"] > 0 and info["tcp_port"] == PORT
    assert info["role"] == "master" and info["used_memory"] > 0 and r.info("server")["uptime_in_seconds"] >= 0
    r.set("a", 1, ex=100)
    assert r.info("keyspace")["db0"]["keys"] == 1 and r.info("keyspace")["db0"]["expires"] == 1
    me = [c for c in r.client_list() if c["name"] == "asker"]
    assert len(me) == 1 and int(me[0]["id"]) == r.client_id() and me[0]["cmd"] == "client|list"
    assert me[0]["addr"].startswith("127.0.0.1:") and me[0]["db"] == "0" and me[0]["resp"] == str(RESP)
    assert r.config_get("maxmemory*")["maxmemory"] == "0" and r.config_get("port", "save") == {"port": str(PORT), "save": ""}
    assert r.config_set("hash-max-listpack-entries", 128) and r.config_resetstat()
    fails(ResponseError, "Unknown option", r.config_set, "nonsense", 1)
    assert r.command_count() > 200 and r.command_getkeys("MSET", "a", 1, "b", 2) == ["a", "b"]
    get = r.command()["get"]
    assert get["arity"] == 2 and get["first_key_pos"] == 1 and "readonly" in get["flags"]
    seconds, micros = r.time()
    assert abs(seconds - time.time()) < 10 and 0 <= micros < 1_000_000
    r.config_set("slowlog-log-slower-than", 0)
    r.get("a")
    assert any("GET a" in str(e["command"]) for e in r.slowlog_get()) and r.slowlog_len() > 0 and r.slowlog_reset()
    r.config_set("slowlog-log-slower-than", 10_000)
    assert r.echo("echo") == "echo" and r.ping() is True and r.object("freq", "none") is None
    assert r.memory_stats()["keys.count"] == 1 and r.wait(0, 1) == 0
    assert r.role()[0] == "master"


@run
def databases():
    zero, one = connect(), connect(db=1)
    zero.set("a", 0)
    one.set("a", 1)
    assert zero.get("a") == "0" and zero.swapdb(0, 1) and zero.get("a") == "1" and zero.move("a", 2) is True
    assert connect(db=2).get("a") == "1" and one.flushdb() and one.dbsize() == 0 and zero.dbsize() == 0


@run
def a_password():
    admin = connect()
    admin.config_set("requirepass", "secret")
    try:
        assert connect(password="secret").ping() and connect(username="default", password="secret").ping()
        fails(AuthenticationError, "", connect(password="wrong", retry=Retry(NoBackoff(), 0)).ping)
        fails(AuthenticationError, "", connect(retry=Retry(NoBackoff(), 0)).ping)
    finally:
        admin.config_set("requirepass", "")
    assert connect().ping()


@run
def a_unix_socket():
    path = os.path.join(FOLDER, "socket")
    r = redis.Redis(unix_socket_path=path, protocol=RESP, decode_responses=True)
    assert r.set("a", "here") and connect().get("a") == "here"
    assert redis.Redis.from_url(f"unix://{path}?db=0&protocol={RESP}").get("a") == b"here"
    assert r.client_info()["addr"].endswith("socket:0")


@run
def texts_and_bytes():
    r, raw = connect(), connect(decode_responses=False)
    r.set("ü", "grün")
    assert raw.get("ü".encode()) == "grün".encode() and r.get("ü") == "grün"
    raw.hset("h", "k", b"\xff")
    assert raw.hgetall("h") == {b"k": b"\xff"} and connect(encoding_errors="replace").hget("h", "k") == "\ufffd"
    big = os.urandom(20 << 20)
    assert raw.set("big", big) and raw.get("big") == big and raw.strlen("big") == len(big)


@run
def what_others_call_is_seen_by_monitor():
    r = connect()
    with r.monitor() as m:
        r.set("a", "two words")
        r.eval("return redis.call('GET', KEYS[1])", 1, "a")
        calls = []
        while len(calls) < 3:
            c = m.next_command()
            if c["command"].split()[0] not in ("HELLO", "CLIENT"):
                calls.append(c)
    assert calls[0]["command"] == "SET a two words" and calls[0]["client_type"] == "tcp" and calls[0]["db"] == 0
    assert calls[1]["command"].startswith("EVAL ") and calls[2]["client_type"] == "lua" and calls[2]["command"] == "GET a"


@run
def clients_are_paused():
    r, other = connect(), connect()
    r.client_pause(20_000, all=False)
    assert other.get("a") is None, "reads go on"

    def resume():
        eventually(lambda: blocked(r) == 1)
        return r.client_unpause()

    written, resumed = in_threads(lambda: other.set("a", 1), resume)
    assert written is True and resumed and r.get("a") == "1"


@run
def a_read_only_error_is_its_own_kind():
    r = connect()
    fails(ReadOnlyError, "", r.eval, "return redis.error_reply('READONLY no')", 0)


main()
