"""What allure-pytest knows of a test: its decorators, read from markers, and its dynamic calls, overheard.

Allure itself is never imported: where allure-pytest is a plugin of the session, its modules are there.
Dynamic calls go through ``allure_commons.plugin_manager``, a pluggy manager whose hooks are the same in 2.13
and 2.16; we listen there beside allure's own listener, which exists with ``--alluredir`` only.
"""

from __future__ import annotations

import contextlib
import enum
import sys
from typing import TYPE_CHECKING, Any

import pluggy
import pytest

from pytest_test_observer._record import AllureMeta

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["AllureReader", "install"]

_PLUGIN_NAMES = ("allure_pytest", "allure_pytest.plugin")  # the second: -p without entry points
_allure_hook = pluggy.HookimplMarker("allure")

_LABEL_MARK = "allure_label"
_LINK_MARK = "allure_link"
_SEVERITY = "severity"
_IDS = ("as_id", "AS_ID", "ALLURE_ID")  # allure-pytest's own, and the two that Allure TestOps reads as well
# Of these the closest decorator counts, of others all do (allure_pytest.utils.ALLURE_UNIQUE_LABELS).
_UNIQUE_LABELS = frozenset((_SEVERITY, "framework", "host", "suite", "parentSuite", "subSuite"))

_Label = tuple[str, str]
_Link = tuple[str, str, str]


def install(config: pytest.Config) -> AllureReader | None:
    """Start reading along; None without allure-pytest, which then is not imported.

    Call it in ``pytest_configure``, in the process that runs tests. Ends by itself with the configuration.
    """
    if not any(config.pluginmanager.hasplugin(name) for name in _PLUGIN_NAMES):
        return None
    reader = AllureReader(config)
    config.pluginmanager.register(reader, "test_observer_allure")
    manager: Any = getattr(sys.modules.get("allure_commons"), "plugin_manager", None)
    # A future allure with other hooks: decorators are read all the same.
    with contextlib.suppress(AttributeError, pluggy.PluginValidationError):
        manager.register(reader)
        config.add_cleanup(lambda: manager.unregister(reader))
    return reader


class _Attempt:
    """What was said of one attempt while it ran."""

    def __init__(self, item: pytest.Item | None = None) -> None:
        self.item = item
        self.title: object = None
        self.labels: list[tuple[object, object]] = []
        self.links: list[tuple[object, object, object]] = []


class AllureReader:
    """A plugin of pytest and of allure that gathers the metadata of the test that is running."""

    def __init__(self, config: pytest.Config) -> None:
        self._patterns = _link_patterns(config)
        self._attempt = _Attempt()

    def meta(self, item: pytest.Item) -> AllureMeta:
        """Return what is known of ``item``; to be called after its teardown and before the next setup.

        Labels and links are the dynamic calls', then the decorators', from the test outwards, as in Allure's
        result files. What Allure adds by itself (host, thread, package, default suites) is left out.
        """
        attempt = self._attempt if self._attempt.item is item else _Attempt(item)
        labels = _grouped([*_dynamic_labels(attempt), *_marked_labels(item)])
        return AllureMeta(
            id=next((labels[key][0] for key in _IDS if key in labels), ""),
            title=_text(_filled_title(item) if attempt.title is None else attempt.title),
            severity=labels.get(_SEVERITY, [""])[0],
            labels=labels,
            links=[*self._dynamic_links(attempt), *_marked_links(item)],
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Begin an attempt; fill in the title as soon as the fixtures are there, when Allure does it too."""
        __tracebackhide__ = True  # an error in a fixture passes through here; its traceback is the suite's
        self._attempt = attempt = _Attempt(item)
        try:
            return (yield)
        finally:
            title = _filled_title(item)
            if title is not None:
                attempt.title = title

    @_allure_hook
    def add_title(self, test_title: object) -> None:
        """``allure.dynamic.title``."""
        self._attempt.title = test_title

    @_allure_hook
    def add_label(self, label_type: object, labels: tuple[object, ...]) -> None:
        """``allure.dynamic.label``, ``severity``, ``feature``, ``tag``, ``id`` and the like."""
        self._attempt.labels.extend((label_type, label) for label in labels)

    @_allure_hook
    def add_link(self, url: object, link_type: object, name: object) -> None:
        """``allure.dynamic.link``, ``issue`` and ``testcase``."""
        self._attempt.links.append((link_type, url, name))

    def _dynamic_links(self, attempt: _Attempt) -> Iterator[_Link]:
        seen = set()
        for link_type, short_url, name in attempt.links:
            url = self._full_url(_text(link_type), _text(short_url))
            if url not in seen:
                seen.add(url)
                yield _text(link_type), url, url if name is None else _text(name)

    def _full_url(self, link_type: str, url: str) -> str:
        """Apply ``--allure-link-pattern``; to decorators allure-pytest has applied it already."""
        with contextlib.suppress(LookupError, ValueError, AttributeError):
            return self._patterns.get(link_type, "{}").format(url)
        return url


def _link_patterns(config: pytest.Config) -> dict[str, str]:
    with contextlib.suppress(TypeError, ValueError):
        return dict(config.getoption("allure_link_pattern", None) or ())
    return {}


def _dynamic_labels(attempt: _Attempt) -> list[_Label]:
    return [(_text(label_type), _text(value)) for label_type, value in attempt.labels]


def _marked_labels(item: pytest.Item) -> Iterator[_Label]:
    seen = set()
    for mark in item.iter_markers(_LABEL_MARK):
        name = _text(mark.kwargs.get("label_type", ""))
        unique = name in _UNIQUE_LABELS
        if name and not (unique and name in seen):
            yield from ((name, _text(value)) for value in (mark.args[:1] if unique else mark.args))
        if mark.args:
            seen.add(name)


def _marked_links(item: pytest.Item) -> Iterator[_Link]:
    for mark in item.iter_markers(_LINK_MARK):
        if mark.args:
            url = _text(mark.args[0])
            name = mark.kwargs.get("name")
            yield _text(mark.kwargs.get("link_type", "link")), url, url if name is None else _text(name)


def _grouped(labels: list[_Label]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, value in labels:
        values = groups.setdefault(name, [])
        if value not in values:
            values.append(value)
    return dict(sorted(groups.items()))


def _filled_title(item: pytest.Item) -> object:
    """Return ``@allure.title``, parameters and fixtures in place of ``{name}``; as written if that fails."""
    title = getattr(getattr(item, "obj", None), "__allure_display_name__", None)
    formatter = getattr(sys.modules.get("allure_commons.utils"), "SafeFormatter", None)
    if title is None or formatter is None:
        return title
    try:
        return formatter().format(title, **_title_values(item))
    except Exception:  # noqa: BLE001 - runs __format__ of the user's objects
        return title


def _title_values(item: pytest.Item) -> dict[str, object]:
    values: dict[str, object] = {}
    callspec = getattr(item, "callspec", None)
    if callspec is not None:
        values = {"param_id": _unescaped(callspec.id), **callspec.params}
    return {**values, **(getattr(item, "funcargs", None) or {})}


def _unescaped(param_id: str) -> str:
    # pytest writes what is not ASCII as escapes, Allure shows what was meant.
    return param_id.encode().decode("unicode-escape") if param_id.isascii() else param_id


def _text(value: object) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()  # as in Allure's JSON
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - runs __str__ of the user's objects
        return type(value).__name__
