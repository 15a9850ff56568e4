"""Word of jobs that change: it comes, it says of which where it can, and its loss is borne."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from core.store.news import News, PostgresNews, SqliteNews
from core.store.sql import SqlStore
from tests.core.store_kit import new_job, open_store, take, url

__all__ = ["url"]


@pytest.fixture
def made(url: str) -> Iterator[SqlStore]:
    store = open_store(url, None)
    yield store
    store.close()


@pytest.fixture
def news(made: SqlStore) -> Iterator[News]:
    news = made.news()
    yield news
    news.close()


def heard(news: News, act: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether word comes of what is done while somebody waits."""
    with ThreadPoolExecutor(1) as pool:
        word = pool.submit(news.wait, seconds)
        act()
        found = word.result()
        return found is None or bool(found)


def quiet(news: News) -> None:
    """Until nothing is left of what came before."""
    while (found := news.wait(0.05)) is None or found:
        pass


def test_word_comes_of_each_job_that_is_made_or_changed(made: SqlStore, news: News) -> None:
    assert news.wait(0.0) is None, "what came before is not known"
    quiet(news)
    assert heard(news, lambda: made.create(new_job()))
    quiet(news)
    claim = take(made)
    found = news.wait(10)
    assert found is None or set(found) == {claim.job.id}
    quiet(news)
    assert heard(news, lambda: made.progress(claim, chunks_total=3))


def test_between_two_waits_nothing_is_lost(made: SqlStore, news: News) -> None:
    quiet(news)
    ids = {made.create(new_job()).id for _ in range(3)}
    found: set[str] = set()
    while not ids <= found:
        word = news.wait(10)
        assert word is None or word
        found |= ids if word is None else set(word)


def test_a_wait_ends(news: News) -> None:
    quiet(news)
    began = time.monotonic()
    assert news.wait(0.1) == set() or news.wait(0.1) == ()
    assert time.monotonic() - began < 5


def test_postgres_says_nothing_of_heartbeats(fresh_postgres: Callable[[], str]) -> None:
    store = open_store(fresh_postgres(), None)
    store.create(new_job())
    claim = take(store)
    news = store.news()
    quiet(news)
    store.heartbeat(claim, 60)
    assert not news.wait(0.1)
    news.close()
    store.close()


def test_a_connection_that_broke_is_made_anew(
    fresh_postgres: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(fresh_postgres(), None)
    news = store.news()
    quiet(news)
    with store.database.write() as connection:
        ended = connection.execute(
            text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'parascribe news'"
            )
        )
        assert ended.scalar() == 1
    assert news.wait(0.05) is None and "tells no news" in caplog.text
    quiet(news)
    assert heard(news, lambda: store.create(new_job()))
    news.close()
    store.close()


def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    for news in (SqliteNews(str(tmp_path / "no" / "jobs.db")), PostgresNews("postgresql://nobody@127.0.0.1:1/none")):
        assert news.wait(0.05) is None
        news.close()
