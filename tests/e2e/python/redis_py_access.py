"""redis-py: users and what they may do, and what one client sees and does of others, over RESP2 or RESP3."""

import asyncio
import os
import threading
import time

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    ExecAbortError,
    NoPermissionError,
    ResponseError,
)
from redis.retry import Retry

from runs import PORT, at_least, eventually, fails, main, run

RESP = int(os.environ.get("RESP", "2"))
ONCE = Retry(NoBackoff(), 0)


def connect(**options):
    """A client with connections of its own."""
    return redis.Redis(port=PORT, protocol=RESP, decode_responses=True, **{"socket_timeout": 60, **options})


def dictionary(reply):
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))


admin = connect()


def user(name="alice", **rules):
    """Makes a user anew, and says how to connect as them."""
    rules = {"enabled": True, "passwords": ["+secret"], "reset": True, **rules}
    assert admin.acl_setuser(name, **rules) is True
    return {"username": name, "password": "secret"}


@run
def users_are_made_shown_and_deleted():
    admin.acl_deluser("alice", "bob")
    assert admin.acl_getuser("alice") is None
    assert admin.acl_setuser("alice") and admin.acl_getuser("alice")["enabled"] is False
    admin.acl_setuser(
        "alice",
        enabled=True,
        reset=True,
        passwords=["+one", "+two", "-one"],
        categories=["+@read", "-@dangerous"],
        commands=["+set", "-get", "+config|get"],
        keys=["orders:*", "carts:*"],
        channels=["news:*"],
        selectors=[("+mset", "%W~log:*")],
    )
    alice = admin.acl_getuser("alice")
    assert alice["enabled"] and "on" in alice["flags"] and len(alice["passwords"]) == 1
    assert alice["keys"] == ["~orders:*", "~carts:*"] and alice["channels"] == ["&news:*"]
    assert {"-@all", "+@read"} <= set(alice["categories"]) and {"-get", "+config|get"} <= set(alice["commands"])
    (selector,) = map(dictionary, alice["selectors"])
    assert selector["keys"] == "%W~log:*" and selector["commands"] == "-@all +mset"
    admin.acl_setuser("bob", enabled=True, nopass=True, hashed_passwords=[])
    assert "nopass" in admin.acl_getuser("bob")["flags"]
    admin.acl_setuser("bob", reset_passwords=True, hashed_passwords=["+" + "0123456789abcdef" * 4])
    assert admin.acl_getuser("bob")["passwords"] == ["0123456789abcdef" * 4]
    admin.acl_setuser("alice", enabled=True, reset_keys=True, keys=["new:*"], reset_channels=True)
    alice = admin.acl_getuser("alice")
    assert alice["keys"] == ["~new:*"] and not alice["channels"]
    assert {"alice", "bob", "default"} == set(admin.acl_users())
    assert any(line.startswith("user alice on ") and "~new:*" in line for line in admin.acl_list())
    fails(ResponseError, "Unknown command or category name in ACL", admin.acl_setuser, "alice", commands=["+nosuch"])
    assert admin.acl_deluser("alice", "bob", "nobody") == 2
    assert admin.acl_users() == ["default"] and admin.acl_whoami() == "default"
    fails(ResponseError, "The 'default' user cannot be removed", admin.acl_deluser, "default")


@run
def categories_and_passwords():
    assert {"read", "write", "dangerous", "scripting"} <= set(admin.acl_cat())
    assert {"get", "mget", "strlen"} <= set(admin.acl_cat("read")) and "set" not in admin.acl_cat("read")
    fails(ResponseError, "Unknown category", admin.acl_cat, "nosuch")
    assert len(admin.acl_genpass()) == 64 and len(admin.acl_genpass(20)) == 5
    assert admin.acl_genpass() != admin.acl_genpass()
    assert any("SETUSER" in line for line in admin.acl_help())


@run
def without_a_file_of_users_there_is_none_to_load():
    fails(ResponseError, "not configured to use an ACL file", admin.acl_load)
    fails(ResponseError, "not configured to use an ACL file", admin.acl_save)


@run
def a_user_does_what_they_may():
    alice = user(categories=["+@all", "-@dangerous"], keys=["a:*"], channels=["news:*"])
    with connect(**alice) as r:
        assert r.acl_whoami() == "alice" and r.set("a:1", "v") and r.get("a:1") == "v"
        fails(NoPermissionError, "", r.flushall)
        fails(NoPermissionError, "", r.get, "b")
        fails(NoPermissionError, "", r.mset, {"a:2": 1, "b": 1})
        assert r.publish("news:1", "x") == 0
        fails(NoPermissionError, "", r.publish, "other", "x")
        p = r.pubsub()
        p.subscribe("other")
        fails(NoPermissionError, "", p.get_message, timeout=5)
        p.close()
        # Nothing of a transaction is done of which a part may not be done.
        with r.pipeline() as many:
            many.set("a:3", 1).set("b", 1)
            fails((NoPermissionError, ExecAbortError), "", many.execute)
        assert r.get("a:3") is None
        with r.pipeline(transaction=False) as many:
            many.set("a:3", 1).set("b", 1).get("a:3")
            one, two, three = many.execute(raise_on_error=False)
        assert one is True and isinstance(two, NoPermissionError) and three == "1"
        fails(ResponseError, "", r.eval, "return redis.call('GET', 'b')", 0)
        assert r.eval("return redis.call('GET', KEYS[1])", 1, "a:3") == "1"
    assert admin.exists("b") == 0


@run
def rights_are_taken_and_given_at_once():
    alice = user(categories=["+@all"], keys=["*"])
    r = connect(**alice, retry=ONCE)
    assert r.set("k", "v")
    admin.acl_setuser("alice", enabled=True, commands=["-set"])
    fails(NoPermissionError, "'set' command", r.set, "k", "w")
    admin.acl_setuser("alice", enabled=True, commands=["+set"], reset_keys=True, keys=["other"])
    fails(NoPermissionError, "", r.set, "k", "w")
    assert r.set("other", "w")
    # Who is off is not let in again, and who is deleted is cut off.
    admin.acl_setuser("alice", enabled=False)
    with connect(**alice, retry=ONCE) as late:
        fails(AuthenticationError, "invalid username-password pair or user is disabled", late.ping)
    assert admin.acl_deluser("alice") == 1
    fails((ConnectionError, AuthenticationError), "", lambda: [r.ping() for _ in range(2)])
    r.close()


@run
def a_user_in_an_address_and_from_a_provider():
    user(categories=["+@all"], keys=["*"])
    address = f"127.0.0.1:{PORT}/2?protocol={RESP}&decode_responses=True"
    with redis.Redis.from_url(f"redis://alice:secret@{address}") as r:
        assert r.acl_whoami() == "alice" and r.client_info()["db"] == 2 and r.client_info()["user"] == "alice"
    with redis.Redis.from_url(f"redis://alice:wrong@{address}", retry=ONCE) as r:
        fails(AuthenticationError, "invalid username-password pair", r.ping)
    with redis.Redis.from_url(f"redis://nobody:secret@{address}", retry=ONCE) as r:
        fails(AuthenticationError, "invalid username-password pair", r.ping)
    asked = []

    class Provider(CredentialProvider):
        def get_credentials(self):
            asked.append(1)
            return "alice", "secret"

    with connect(credential_provider=Provider()) as r:
        assert r.acl_whoami() == "alice" and len(asked) == 1
        assert r.client_kill_filter(_id=r.client_id(), skipme=False) == 1
        eventually(lambda: again(r) == "alice")
        assert len(asked) == 2, "asked anew for a new connection"
    with connect(credential_provider=UsernamePasswordCredentialProvider("alice", "secret")) as r:
        assert r.acl_whoami() == "alice"
    with connect() as r:
        r.auth("secret", "alice")
        assert r.acl_whoami() == "alice"


def again(r):
    try:
        return r.acl_whoami()
    except ConnectionError:
        return None


@run
def a_password_of_all():
    admin.config_set("requirepass", "secret")
    try:
        with connect(retry=ONCE) as r:
            fails(AuthenticationError, "", r.ping)
        with connect(password="wrong", retry=ONCE) as r:
            fails(AuthenticationError, "", r.ping)
        with connect(password="secret") as r:
            assert r.ping() and r.acl_whoami() == "default"
        assert admin.config_get("requirepass") == {"requirepass": "secret"}
    finally:
        admin.config_set("requirepass", "")
    with connect() as r:
        assert r.ping() and "nopass" in r.acl_getuser("default")["flags"]


@run
def trying_a_command_without_calling_it():
    user(commands=["+get", "+set"], keys=["a:*"])
    assert admin.acl_dryrun("alice", "get", "a:1") == "OK"
    assert "has no permissions to run the 'del' command" in admin.acl_dryrun("alice", "del", "a:1")
    assert "b" in admin.acl_dryrun("alice", "get", "b") and admin.exists("a:1") == 0
    fails(ResponseError, "not found", admin.acl_dryrun, "nobody", "get", "a:1")


@run
def what_was_refused_is_told():
    alice = user(commands=["+get", "+multi", "+exec", "+hello", "+client"], keys=["a:*"])
    assert admin.acl_log_reset() is True and admin.acl_log() == []
    with connect(**alice, retry=ONCE) as r:
        fails(NoPermissionError, "", r.get, "b")
        fails(NoPermissionError, "", r.get, "b")
        fails(NoPermissionError, "", r.set, "a:1", "v")
    with connect(username="alice", password="wrong", retry=ONCE) as r:
        fails(AuthenticationError, "", r.ping)
    auth, command, key = admin.acl_log()
    assert (auth["reason"], auth["username"]) == ("auth", "alice") and auth["object"] in ("HELLO", "AUTH")
    assert (command["reason"], command["object"], command["context"]) == ("command", "set", "toplevel")
    assert (key["reason"], key["object"], key["count"]) == ("key", "b", 2)
    assert "alice" in str(key["client-info"]) and float(key["age-seconds"]) < 60
    assert len(admin.acl_log(count=1)) == 1
    assert admin.acl_log_reset() is True and admin.acl_log() == []


@run
async def asyncio_does_the_same():
    alice = user(categories=["+@all", "-@admin"], keys=["a:*"])
    options = {"port": PORT, "protocol": RESP, "decode_responses": True}
    async with redis.asyncio.Redis(**options, **alice) as r:
        assert await r.acl_whoami() == "alice" and await r.set("a:1", "v")
        try:
            await r.get("b")
            raise AssertionError("b may not be read")
        except NoPermissionError:
            pass
        async with r.pipeline() as many:
            try:
                await many.set("a:2", 1).set("b", 1).execute()
                raise AssertionError("b may not be written")
            except (NoPermissionError, ExecAbortError):
                pass
        assert await r.get("a:2") is None
        info = await r.client_info()
        assert info["user"] == "alice"
    wrong = {**alice, "password": "wrong"}
    async with redis.asyncio.Redis(**options, **wrong, retry=redis.asyncio.retry.Retry(NoBackoff(), 0)) as r:
        try:
            await r.ping()
            raise AssertionError("the password is wrong")
        except AuthenticationError:
            pass
    async with redis.asyncio.Redis(**options) as r:
        assert (await r.acl_getuser("alice"))["keys"] == ["~a:*"]
        assert await r.acl_dryrun("alice", "get", "a:1") == "OK"
        assert {e["reason"] for e in await r.acl_log()} >= {"key", "auth"}
        assert await r.acl_log_reset() and await r.acl_deluser("alice") == 1
    async with redis.asyncio.Redis(**options, single_connection_client=True) as r, redis.asyncio.Redis(**options) as s:
        await r.client_setname("waits")
        waits = asyncio.create_task(r.blpop("nothing", 60))
        while not any(c["name"] == "waits" and c["flags"] == "b" for c in await s.client_list()):
            await asyncio.sleep(0.005)
        (there,) = [c for c in await s.client_list() if c["name"] == "waits"]
        assert await s.client_unblock(int(there["id"])) and await waits is None


@run
def clients_are_listed():
    with connect(client_name="one", db=3) as r, connect(client_name="two") as s:
        one, two = r.client_id(), s.client_id()
        assert one != two and r.client_getname() == "one"
        by_name = {c["name"]: c for c in r.client_list()}
        assert by_name["one"]["db"] == "3" and by_name["two"]["cmd"] in ("client|id", "ping")
        assert [c["name"] for c in r.client_list(client_id=[two])] == ["two"]
        assert {"one", "two"} <= {c["name"] for c in r.client_list(_type="normal")}
        assert r.client_list(_type="replica") == []
        fails(redis.DataError, "", r.client_list, _type="nosuch")
        p = s.pubsub()
        p.subscribe("c")
        eventually(lambda: len(r.client_list(_type="pubsub")) == 1)
        p.close()
        info = r.client_info()
        assert (int(info["id"]), info["name"], info["db"], info["user"]) == (one, "one", 3, "default")
        assert info["resp"] == str(RESP) and info["redir"] == "-1"
        r.client_setname("renamed")
        assert r.client_getname() == "renamed" and s.client_list(client_id=[one])[0]["name"] == "renamed"


@run
def clients_are_killed():
    alice = user(categories=["+@all"], keys=["*"])
    victim = connect(**alice)
    number = victim.client_id()
    address = victim.client_info()["addr"]
    assert admin.client_kill_filter(_id=number) == 1 and admin.client_kill_filter(_id=number) == 0
    eventually(lambda: again(victim) == "alice")
    assert victim.client_id() != number
    fails(ResponseError, "No such client", admin.client_kill, address)
    assert admin.client_kill(victim.client_info()["addr"]) is True
    eventually(lambda: again(victim) == "alice")
    assert admin.client_kill_filter(user="alice") >= 1
    eventually(lambda: again(victim) == "alice")
    assert admin.client_kill_filter(laddr=victim.client_info()["laddr"], skipme=True) >= 1
    fails(ResponseError, "No such user", admin.client_kill_filter, user="nobody")
    fails(redis.DataError, "", admin.client_kill_filter)
    with connect() as r:
        p = r.pubsub()
        p.subscribe("c")
        p.get_message(timeout=5)
        eventually(lambda: admin.client_kill_filter(_type="pubsub") == 1)
    victim.close()


@run
def clients_wait_while_all_are_paused():
    with connect() as r:
        r.set("k", "v")
        assert admin.client_pause(60_000, all=False)
        assert r.get("k") == "v", "reads go on"
        writes = threading.Thread(target=r.set, args=("k", "w"))
        writes.start()
        eventually(lambda: any(c["flags"] == "b" for c in admin.client_list()))
        assert admin.get("k") == "v"
        assert admin.client_unpause()
        writes.join(30)
        assert not writes.is_alive() and admin.get("k") == "w"
        since = time.monotonic()
        assert admin.client_pause(100) and r.get("k") == "w" and time.monotonic() - since >= 0.09


@run
def a_client_that_waits_is_woken():
    with connect() as r:
        number, got = r.client_id(), []

        def waits():
            try:
                got.append(r.blpop(["nothing"], 60))
            except ResponseError as e:
                got.append(str(e))

        for error in (False, True):
            thread = threading.Thread(target=waits)
            thread.start()
            eventually(lambda: admin.client_unblock(number, error=error))
            thread.join(30)
            assert not thread.is_alive()
        assert got[0] is None and got[1].startswith("UNBLOCKED")
        assert not admin.client_unblock(number)


@run
def what_clients_say_of_themselves():
    with connect() as r:
        assert r.client_no_evict("ON") and r.client_no_evict("OFF")
        fails(ResponseError, "", r.client_no_evict, "maybe")
        if at_least(7, 2):
            assert r.client_no_touch("ON") and "T" in r.client_info()["flags"] and r.client_no_touch("OFF")
            assert r.client_setinfo("LIB-NAME", "mine") and r.client_setinfo("LIB-VER", "1.0")
            assert (r.client_info()["lib-name"], r.client_info()["lib-ver"]) == ("mine", "1.0")
            fails(ResponseError, "cannot contain spaces", r.client_setinfo, "LIB-NAME", "not mine")
    with connect(single_connection_client=True, socket_timeout=0.2, retry=ONCE) as r:
        assert r.client_reply("ON")
        fails(redis.TimeoutError, "", r.client_reply, "OFF")


@run
def another_connection_hears_of_changed_keys():
    """Client-side caching as RESP2 has it: invalidations go to a second connection that subscribes to them."""
    pool = redis.ConnectionPool(host="127.0.0.1", port=PORT, protocol=2, decode_responses=True)
    with redis.Redis(connection_pool=pool) as listener, connect(single_connection_client=True) as r:
        p = listener.pubsub()
        p.subscribe("__redis__:invalidate")
        assert p.get_message(timeout=5)["type"] == "subscribe"
        number = int(admin.client_list(_type="pubsub")[0]["id"])
        assert r.client_tracking_on(clientid=number)
        assert r.client_getredir() == number
        info = dictionary(r.client_trackinginfo())
        assert set(info["flags"]) == {"on"} and info["redirect"] == number
        assert r.get("k") is None
        admin.set("k", "v")
        heard = p.get_message(timeout=30)
        assert (heard["channel"], heard["data"]) == ("__redis__:invalidate", ["k"])
        admin.set("k", "w")
        r.get("k")
        admin.flushall()
        assert p.get_message(timeout=30)["data"] is None
        # With prefixes, of keys that it has not read.
        assert r.client_tracking_off()
        assert r.client_tracking_on(clientid=number, prefix=["user:", "order:"], bcast=True, noloop=True)
        r.set("user:1", "mine")
        admin.set("order:1", "theirs")
        admin.set("other", "theirs")
        assert p.get_message(timeout=30)["data"] == ["order:1"]
        info = dictionary(r.client_trackinginfo())
        assert set(info["flags"]) == {"on", "bcast", "noloop"} and set(info["prefixes"]) == {"user:", "order:"}
        fails(ResponseError, "overlaps", r.client_tracking_on, clientid=number, prefix=["user:1"], bcast=True)
        assert r.client_tracking_off() and dictionary(r.client_trackinginfo())["flags"] in (["off"], {"off"})
        # What is read is only remembered if it was said so before.
        assert r.client_tracking_on(clientid=number, optin=True)
        r.get("a")
        assert r.execute_command("CLIENT", "CACHING", "YES") == "OK"
        r.get("b")
        admin.mset({"a": 1, "b": 1})
        assert p.get_message(timeout=30)["data"] == ["b"]
        fails(ResponseError, "does not exist", r.client_tracking_on, clientid=99999999)
        p.close()


main()
