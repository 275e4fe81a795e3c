"""Tests with the plugin beside this file: `REDKEEP=path/to/redkeep pytest examples/python`."""

import threading

import pytest
import redis


class Baskets:
    """What is tested: baskets of a shop, which are forgotten after half an hour."""

    LIFETIME = 30 * 60

    def __init__(self, url):
        self.redis = redis.Redis.from_url(url, decode_responses=True)

    def add(self, customer, item):
        with self.redis.pipeline() as pipe:
            pipe.rpush(f"basket:{customer}", item).expire(f"basket:{customer}", self.LIFETIME).execute()

    def items(self, customer):
        return self.redis.lrange(f"basket:{customer}", 0, -1)

    def check_out(self, customer):
        """Sells what is in the basket; whoever does so at the same time gets nothing."""
        with self.redis.lock(f"checkout:{customer}", timeout=10):
            sold = self.items(customer)
            self.redis.delete(f"basket:{customer}")
            return sold


@pytest.fixture
def baskets(redkeep):
    return Baskets(redkeep.url)


def test_a_basket_keeps_what_is_put_into_it(baskets):
    baskets.add("ada", "apples")
    baskets.add("ada", "pears")
    assert baskets.items("ada") == ["apples", "pears"]
    assert baskets.items("bob") == []


def test_no_test_sees_what_another_has_left(redkeep, baskets):
    assert redkeep.client.dbsize() == 0
    baskets.add("ada", "plums")
    assert redkeep.client.keys() == ["basket:ada"]


def test_a_basket_is_forgotten_after_half_an_hour(redkeep, baskets):
    baskets.add("ada", "apples")
    redkeep.clock.advance(Baskets.LIFETIME - 1)
    assert baskets.items("ada") == ["apples"]
    redkeep.clock.advance(2)
    assert baskets.items("ada") == []


def test_a_basket_is_sold_once(baskets):
    baskets.add("ada", "apples")
    sold = []
    buyers = [threading.Thread(target=lambda: sold.extend(baskets.check_out("ada"))) for _ in range(8)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join()
    assert sold == ["apples"]


def test_a_server_with_a_password_is_one_line(redkeep_factory):
    guarded = redkeep_factory("--requirepass", "secret")
    with pytest.raises(redis.AuthenticationError):
        Baskets(guarded.url).items("ada")
    with_password = guarded.url.replace("redis://", "redis://:secret@")
    assert Baskets(with_password).items("ada") == []


def test_an_outage_is_an_error(redkeep_factory):
    server = redkeep_factory()
    baskets = Baskets(server.url)
    baskets.add("ada", "apples")
    server.stop()
    with pytest.raises(redis.ConnectionError):
        baskets.items("ada")
