from __future__ import annotations

import time

import pytest

ARTICLES = {"book": 1999, "pen": 150, "paper": 499, "desk": 24900, "lamp": 3900}


def search(text: str) -> list[str]:
    return sorted(name for name in ARTICLES if text in name)


@pytest.mark.parametrize("name", sorted(ARTICLES))
@pytest.mark.parametrize("length", range(1, 4))
def test_article_is_found_by_its_beginning(name, length):
    assert name in search(name[:length])


@pytest.mark.parametrize("text", ["sofa", "Buch", "книга", "本"])
def test_nothing_is_found(text):
    assert search(text) == []


def test_case_does_not_matter():
    # Fails: nobody thought of it.
    assert search("Book") == ["book"]


def test_index_is_built(record_event):
    for name in sorted(ARTICLES):
        record_event("indexed", {"article": name})
    time.sleep(0.5)  # what an index takes
